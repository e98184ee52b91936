"""Versions of tleg and its libraries, for headers, manifests and reports."""

__version__ = "0.1.0"


def versions(*packages: str) -> dict[str, str]:
    """Return {'python': …} and the installed version of each package, or 'missing'. Imports none of them."""
    import platform  # Here, because whatever only says its own version must start fast.

    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    if package == "tleg":
        return __version__
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
