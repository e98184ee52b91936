"""What a run put at its output: what it may replace there when it is made longer, and nothing else. No torch."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tleg.atomic import FOLDER_FILES, hash_file, new_file
from tleg.runs.layout import RunFolder

_FILE: Final = "published.json"


def contents(path: Path) -> dict[str, str] | None:
    """Return the hashes of a result's files, by name; None for what is not there. Raises OSError."""
    if path.is_file():
        return {"": hash_file(path)}
    if path.is_dir():
        return {each.name: hash_file(each) for each in path.iterdir() if each.name in FOLDER_FILES and each.is_file()}
    return None


def note_published(folder: RunFolder, hashes: Mapping[str, str]) -> None:
    """Note what the run is about to publish. Before, so that a kill in between leaves no output that nobody knows.

    Raises InputError and ExportError when the note cannot be written.
    """
    known = _read(folder)
    if hashes not in known:
        with new_file(folder.path / _FILE, overwrite=True) as file:
            file.write_text(json.dumps([*known, dict(hashes)], indent=1) + "\n", "utf-8")


def is_published(folder: RunFolder, output: Path) -> bool:
    """Whether what is at the output is, file by file, what this run put there."""
    with suppress(OSError):
        found = contents(output)
        return found is not None and found in _read(folder)
    return False


def _read(folder: RunFolder) -> list[Mapping[str, str]]:
    try:
        known = json.loads((folder.path / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [each for each in known if isinstance(each, dict)] if isinstance(known, list) else []
