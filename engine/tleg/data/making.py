"""What programs that make data sets share: how they read their arguments, show where they are, and end."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from tleg.errors import ExitCode, InputError, TlegError, exit_code_of

Counting = Callable[[int, int], None]


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are tleg's."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{message}. See `{self.prog} --help`.", code="usage")


def run_program(program: Callable[[], None]) -> int:
    """Run a program and return its exit code: 0 done, 1 it failed, 2 bad input, 130 interrupted.

    An error is one line on stderr; with TLEG_ERRORS=json it is a JSON document. SIGTERM and SIGHUP end the program as well
    after what it has half written is removed.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup, for one, has it ignored.
            signal.signal(number, _end)
    try:
        program()
    except TlegError as error:
        _explain(error)
        return exit_code_of(error)
    except KeyboardInterrupt:
        _explain(TlegError("interrupted", code="interrupted"))
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)  # As a shell names the end by a signal.


def _explain(error: TlegError) -> None:
    as_json = os.environ.get("TLEG_ERRORS") == "json"
    print(json.dumps(error.document) if as_json else f"tleg: {' '.join(str(error).split())}", file=sys.stderr)


@contextmanager
def counting(title: str) -> Iterator[Counting]:
    """Yield a callback for (done, in all) that moves a bar on a terminal, and does nothing where nobody looks."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, total=total, completed=done)
