"""The learngenes that ship with tleg, by name."""

from pathlib import Path
from typing import Final

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
