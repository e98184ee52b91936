"""Errors that nobody foresaw: a sentence for the user, the traceback in a file, and none of it for what is void anyway."""

import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

from textual.app import ScreenStackError
from textual.css.query import NoMatches
from textual.widget import MountError
from textual.worker import WorkerFailed

FILE: Final = "error.log"


def is_void(error: BaseException) -> bool:
    """Whether an error says only that a screen or a widget is not there (any more)."""
    if isinstance(error, WorkerFailed):
        return is_void(error.error)
    return isinstance(error, NoMatches | MountError | ScreenStackError)


def report(error: BaseException, folder: Path) -> str:
    """Write the traceback of an error to a folder, and return what there is to say."""
    cause = error.error if isinstance(error, WorkerFailed) else error
    said = f"tleg-tui: unexpected {type(cause).__name__}: {' '.join(str(cause).split())}"
    file = folder / FILE
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(traceback.format_exception(cause)), encoding="utf-8")
        return f"{said} ({file} says where)"
    return said
