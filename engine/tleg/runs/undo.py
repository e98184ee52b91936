"""Files of a run as they were, when a command that had begun to change them is refused after all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def undone_on_failure(*files: Path) -> Iterator[None]:
    """Put files back as they were, or away where they were not, when the block raises.

    For refusals that nobody can foresee, such as sbatch's; what can be checked is checked before anything is written.
    """
    before = {path: _read(path) for path in files}
    try:
        yield
    except BaseException:
        for path, content in before.items():
            if _read(path) != content:
                _put_back(path, content)
        raise


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _put_back(path: Path, content: bytes | None) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):  # What made the command fail may keep this from being written as well.
        if content is None:
            path.unlink()
        else:
            temporary.write_bytes(content)
            os.replace(temporary, path)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
