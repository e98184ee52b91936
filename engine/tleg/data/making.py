"""What programs that make data sets share: arguments, the choice of validation images, the folder, and how they end."""

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

from PIL import Image

from tleg.ending import raising_received, run_to_end
from tleg.errors import ExitCode, InputError, TlegError, exit_code_of
from tleg.files import new_folder, text_only
from tleg.terminal import Counting, counting_progress, explain_error

SPLITS: Final = ("train", "val")
_SIZES: Final = (8, 512)


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are tleg's."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"{message}. See `{self.prog} --help`.", code="usage")

    def add_common(self, size: int, held_out: str) -> None:
        """Add the arguments that all programs have.

        size      of a picture, where none is given
        held_out  what validation images are chosen by: 'families'
        """
        self.add_argument("--size", type=int, default=size, help=f"side of a picture in pixels (default: {size})")
        self.add_argument("--seed", type=int, default=0, help=f"decides which {held_out} are validation images (default: 0)")
        self.add_argument(
            "--validation", type=float, default=0.2, metavar="PART", help="of all pictures, at most this part (default: 0.2)"
        )
        self.add_argument("--force", action="store_true", help="replace a folder that this program made")

    def read(self, arguments: Sequence[str] | None) -> Any:
        """Parse, and check the arguments that all programs have. Raises InputError."""
        given = self.parse_args(arguments)
        low, high = _SIZES
        if not low <= given.size <= high:
            raise InputError(f"--size must be {low} to {high}, not {given.size}", field="size", code="out-of-range")
        if not 0 < given.validation < 1:
            raise InputError(
                f"--validation must lie between 0 and 1, not be {given.validation:g}",
                field="validation",
                code="out-of-range",
            )
        return given


def choose_validation(sizes: Mapping[str, int], part: float, seed: int) -> set[str]:
    """Return the groups for validation: in an order by (seed, name), each that still fits into the part of all members.

    sizes  members of each group, two groups or more
    part   of all members, above 0 and below 1

    Where none fits it is the smallest. Both sides have at least one.
    """
    order = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    room = part * sum(sizes.values())
    chosen: set[str] = set()
    for name in order:
        if sizes[name] <= room:
            chosen.add(name)
            room -= sizes[name]
    return chosen or {min(order, key=lambda name: sizes[name])}


def encode_png(picture: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def own_names(listing: str) -> frozenset[str]:
    """Return the names in a folder that a program made, which it may replace."""
    return frozenset({*SPLITS, listing})


def write_image_folder(
    output: Path,
    classes: Collection[str],
    pictures: Mapping[str, bytes],
    listing: tuple[str, Mapping[str, Any]],
    *,
    overwrite: bool,
    progress: Counting,
) -> None:
    """Write an image folder, whole or not at all. Raises InputError, ExportError.

    pictures  PNG files by their paths in the folder: 'train/CLASS/NAME.png'
    listing   the name of a JSON file in the folder, and what it says
    """
    name, document = listing
    with new_folder(output, overwrite=overwrite, own=own_names(name)) as folder:
        for split in SPLITS:
            for each in classes:
                (folder / split / each).mkdir(parents=True)
        for number, (path, picture) in enumerate(pictures.items()):
            progress(number, len(pictures))
            (folder / path).write_bytes(picture)
        text = json.dumps(text_only(document), indent=1, ensure_ascii=False)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")


def run_program(program: Callable[[], None]) -> int:
    """Run a program and return its exit code: 0 done, 1 it failed, 2 bad input, 130 interrupted.

    An error is one line on stderr; with TLEG_ERRORS=json it is a JSON document. SIGTERM and SIGHUP end the program as well
    after what it has half written is removed.
    """
    return run_to_end(lambda: _run(program))


def _run(program: Callable[[], None]) -> int:
    try:
        with raising_received():
            program()
    except TlegError as error:
        explain_error(error)
        return exit_code_of(error)
    except KeyboardInterrupt:
        explain_error(TlegError("interrupted", code="interrupted"))
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


@contextmanager
def counting(title: str) -> Iterator[Counting]:
    """Yield a callback for (done, in all) that moves a bar on a terminal, and does nothing where nobody looks."""
    with counting_progress(title) as progress:
        yield progress or (lambda done, total: None)
