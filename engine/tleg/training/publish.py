"""From the run's folder to where the user wants the result."""

import hashlib
import shutil
from pathlib import Path

from tleg.atomic import FOLDER_FILES, new_file, new_folder
from tleg.errors import ExportError, InputError


def publish(result: Path, output: Path, *, overwrite: bool) -> None:
    """Copy a result, a file or a folder, to its output. An output that is this result already stays as it is.

    Raises ExportError, saying where the result is, when it cannot be written or may not be replaced.
    """
    try:
        if _contents(output) == _contents(result):
            return
        if result.is_dir():
            with new_folder(output, overwrite=overwrite) as folder:
                for path in result.iterdir():
                    shutil.copyfile(path, folder / path.name)
        else:
            with new_file(output, overwrite=overwrite) as file:
                shutil.copyfile(result, file)
    except (ExportError, InputError, OSError) as error:
        raise ExportError(f"{error}. The result is in {result}") from error


def _contents(path: Path) -> dict[str, str] | None:
    """The hashes of a result's files; None for what is not there."""
    if path.is_file():
        return {"": _hash(path)}
    if path.is_dir():
        return {each.name: _hash(each) for each in path.iterdir() if each.name in FOLDER_FILES and each.is_file()}
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
