"""Why a process of a run failed, left in the run's folder for whoever asks: the first to fail has its word.

The main process tells its own end by events. Another one's may be all that there is to know: of several processes the main
one can be killed while it waits for one that has failed.
"""

import json
from contextlib import suppress
from typing import Final

from tleg.atomic import new_file
from tleg.errors import TlegError
from tleg.exit_codes import ExitCode
from tleg.runs.layout import RunFolder

_FILE: Final = "failure.json"


def store_failure(folder: RunFolder, code: ExitCode, reason: str) -> None:
    """Leave word, unless another process has already, or the folder cannot be written to."""
    if folder.exists:  # A run that was removed is not begun again.
        with suppress(TlegError), new_file(folder.path / _FILE) as file:
            file.write_text(json.dumps({"code": int(code), "reason": reason}))


def read_failure(folder: RunFolder) -> tuple[ExitCode, str] | None:
    """Return the exit code and the reason that a process left, or None. Never raises."""
    try:
        document = json.loads((folder.path / _FILE).read_text())
        return ExitCode(document["code"]), str(document["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear_failure(folder: RunFolder, before: float | None = None) -> None:
    """Remove what an earlier trainer left; with `before`, only what is older than this Unix time."""
    path = folder.path / _FILE
    with suppress(OSError):
        if before is None or path.stat().st_mtime < before:
            path.unlink()
