"""What commands print: data on stdout, talk on stderr, colour only where a person looks."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

from tleg.errors import TlegError
from tleg.serialize import to_plain
from tleg.text import printable

if TYPE_CHECKING:
    from rich.console import Console

# A program that runs tleg sets it to 'json', and reads errors as documents.
ERRORS_VARIABLE: Final = "TLEG_ERRORS"
BOLD: Final = "\x1b[1m"
DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"
Counting = Callable[[int, int], None]


def say(text: str) -> None:
    """Print a line of talk to stderr."""
    print(text, file=sys.stderr)


def explain_error(error: TlegError, debug: bool = False) -> None:
    """Say why a command failed: one line on stderr, a sentence or, with TLEG_ERRORS=json, a JSON document."""
    if os.environ.get(ERRORS_VARIABLE) == "json":
        say(json.dumps({**error.document, "message": _one_line(error.message), "advice": _one_line(error.advice) or None}))
    else:
        say(f"tleg: {_one_line(str(error))}")
    if debug:
        import traceback

        traceback.print_exc()


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def write(text: str) -> None:
    """Print a line of data to stdout."""
    print(text)


def write_json(value: Any) -> None:
    """Print a JSON document to stdout: indented, keys in the order given. A number that is not finite is null."""
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A file's header or name may hold half of a surrogate pair, which no terminal takes.
    print(text.encode("utf-8", "replace").decode("utf-8"))


def is_interactive(stream: TextIO) -> bool:
    """Whether a stream is a terminal that understands escape codes."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """A text for stdout in a style, an escape code such as BOLD; as it is without a terminal, or with NO_COLOR."""
    if not style or os.environ.get("NO_COLOR") or not is_interactive(sys.stdout):
        return text
    return f"{style}{text}{_PLAIN}"


def console(stream: TextIO) -> "Console":
    """Return a rich console for a stream; without a terminal it prints no escape codes, and NO_COLOR is honoured."""
    from rich.console import Console

    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty())


@contextmanager
def counting_progress(title: str) -> Iterator[Counting | None]:
    """Yield a callback for (done, in all) that moves a bar on a terminal, or None where nobody looks."""
    if not is_interactive(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, total=total, completed=done)
