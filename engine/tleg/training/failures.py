"""What to say when a training fails, and how one process tells the main one."""

import json
from contextlib import suppress
from typing import Final

import torch

from tleg.atomic import new_file
from tleg.errors import TlegError
from tleg.exit_codes import ExitCode, exit_code_of
from tleg.runs.folder import RunFolder

_FILE: Final = "failure.json"


def advice(error: BaseException) -> str:
    """Return one line: what failed and, where it is known, what to change."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError):
        return (
            "out of memory on the GPU: give --accumulate 2 (the same result in half the memory), "
            "--gradient-checkpointing, or a smaller --batch-size"
        )
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return "out of memory: give fewer --workers, or a smaller --batch-size"
    if isinstance(error, TlegError):
        return text
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or text}{place}"
    return f"unexpected {type(error).__name__}: {text[:300]}. The log has the place"


def write_failure(folder: RunFolder, error: BaseException) -> None:
    """Leave word for the main process of why this one fails. The first one counts."""
    with suppress(TlegError), new_file(folder.path / _FILE) as file:
        file.write_text(json.dumps({"code": int(exit_code_of(error)), "reason": advice(error)}))


def read_failure(folder: RunFolder) -> tuple[ExitCode, str] | None:
    """Return and remove what another process left, or None."""
    path = folder.path / _FILE
    try:
        document = json.loads(path.read_text())
        path.unlink()
        return ExitCode(document["code"]), str(document["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
