"""What a run leaves in its own folder, and what that is called elsewhere."""

from pathlib import Path
from typing import Final

from tleg.file_names import readable_name
from tleg.runs.layout import RunFolder

LEARNGENE: Final = "learngene.safetensors"
MODEL: Final = "model"


def name_of(path: Path) -> str:
    """Return what exports of a learngene, or of a folder that holds a model, are called after: its name without suffix.

    A result in a run's own folder has the same name in every run, so it is called by the run's id, which is its alone.
    """
    # Of a link to a file its own name counts, and '.' and 'x/..' are no names.
    place = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    run = RunFolder(place.parent.parent)
    if place.name in (LEARNGENE, MODEL) and place.parent == run.exports and run.spec_file.is_file():
        return run.id
    return readable_name(place.name if path.is_dir() else place.stem)
