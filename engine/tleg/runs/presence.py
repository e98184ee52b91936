"""Whether a run's folder is still where its trainer found it: people remove and move folders of runs that train."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tleg.runs.layout import RunFolder

_DELETED: Final = " (deleted)"


class Presence:
    """Remembers a folder by what it is, so that another one of its name is not taken for it. For its trainer."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._away: str | None = None
        self._moved_to: RunFolder | None = None
        self._descriptor: int | None = None
        with suppress(OSError):  # Then spec.json alone tells.
            self._descriptor = os.open(folder.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def moved_to(self) -> RunFolder | None:
        """Where a folder that was moved is now, once `away` has noticed; None for one that was removed."""
        return self._moved_to

    def away(self) -> str | None:
        """Return what happened to the folder, in words, or None while it is there. Costs microseconds.

        A file system that does not answer tells nothing: what was removed is missing, and known to be missing.
        """
        if self._away is None:
            self._away = self._look()
        return self._away

    def _look(self) -> str | None:
        try:
            os.stat(self._folder.spec_file)
            if self._descriptor is None or os.path.samestat(os.stat(self._folder.path), os.fstat(self._descriptor)):
                return None
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return None
        self._moved_to = self._find()
        return "was removed" if self._moved_to is None else f"was moved to {self._moved_to.path}"

    def _find(self) -> RunFolder | None:
        """The same folder under another path, when it is whole there."""
        if self._descriptor is None:
            return None
        try:
            path = os.readlink(f"/proc/self/fd/{self._descriptor}")
            if path.endswith(_DELETED) or not os.path.samestat(os.stat(path), os.fstat(self._descriptor)):
                return None
        except OSError:
            return None
        folder = RunFolder(Path(path))
        return folder if folder.exists and folder.path != self._folder.path else None
