"""The learngenes that ship with tleg, by name."""

import os
from pathlib import Path
from typing import Final

from tleg.errors import InputError, describe_os_error, did_you_mean

DEFAULT_LEARNGENE: Final = "fashion-mnist"
SUFFIX: Final = ".safetensors"


def shipped_folder() -> Path:
    """The folder of the shipped learngenes: inside the installed package, or assets/ of a source tree."""
    package = Path(__file__).resolve().parent
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent.parent / "assets"


def shipped() -> dict[str, Path]:
    """The shipped learngenes: name -> file."""
    return {path.stem: path for path in sorted(shipped_folder().glob(f"*{SUFFIX}"))}


def resolve(path_or_name: str | os.PathLike[str]) -> Path:
    """Return the file that a path or a shipped name means. Raises InputError when there is none.

    A path that exists wins over a name.
    """
    path = Path(path_or_name)
    text = os.fspath(path_or_name)
    try:
        if path.exists():
            return path
    except OSError as error:
        raise InputError(f"cannot read {text!r}: {describe_os_error(error)}") from error
    except ValueError as error:
        raise InputError(f"cannot read {text!r}: {error}") from error
    names = shipped()
    if text in names:
        return names[text]
    if os.sep in text or path.suffix:
        near = sorted(item.name for item in path.parent.iterdir()) if path.parent.is_dir() else []
        raise InputError(f"there is no file {text}.{did_you_mean(path.name, near)}")
    raise InputError(
        f"there is no file and no shipped learngene '{text}'. "
        f"Shipped: {', '.join(names) or 'none'}.{did_you_mean(text, names)}"
    )
