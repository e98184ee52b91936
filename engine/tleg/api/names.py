"""How the public API names what it is given."""

import os
from pathlib import Path

from tleg.errors import concerning
from tleg.references import Kind
from tleg.text import format_image_size, read_image_size

Name = str | os.PathLike[str]
ImageSize = int | str | tuple[int, int]  # 160, '160', '128x256', (128, 256)


def path_of(text: Name, *kinds: Kind, field: str = "learngene") -> Path:
    """Return the path of what a text names, of some kinds; for a run that is not finished, of its last checkpoint.

    field  the option or argument that the text is of

    torch is loaded for such a run alone. Raises what `tleg.training.names.resolve_model` raises.
    """
    from tleg.training.names import resolve_model

    with concerning(field):
        return resolve_model(os.fspath(text), *kinds).place


def text_of(image_size: ImageSize | None) -> str | None:
    """An image size as it is typed: '128x256'. Raises InputError."""
    size = read_image_size(image_size)
    return None if size is None else format_image_size(size)
