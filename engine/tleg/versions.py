"""Versions of tleg and its libraries, for headers, manifests and reports."""

import platform
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def versions(*packages: str) -> dict[str, str]:
    """Return {'python': …} and the installed version of each package, or 'missing'. Imports none of them."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    if package == "tleg":
        return __version__
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
