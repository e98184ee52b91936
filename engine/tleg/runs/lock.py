"""The lock that a trainer holds for its life, so that anybody can see whether it lives.

A POSIX record lock (fcntl): it belongs to one process and ends with it, however it ends. flock and open-file-description
locks are shared with forked children, so a data worker that outlives its killed trainer would keep the run locked.
The price: closing ANY descriptor of the file gives the process's lock up. This module therefore never opens the lock file of
a run that its own process holds, and nothing else in a trainer may open it either.
"""

import errno
import fcntl
import os
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tleg.errors import InputError, TlegError, describe_os_error
from tleg.runs.run import RunFolder

_RETRY_SECONDS: Final = 0.02
_BUSY: Final = (errno.EACCES, errno.EAGAIN)
# Lock files that this process holds: device and inode, with the process, because a forked child inherits the set alone.
_held: Final[dict[tuple[int, int], int]] = {}
_guard: Final = threading.Lock()


class RunLock:
    """The lock of a run, for the trainer. As a context manager it raises InputError when another process has it."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self._file: tuple[int, int] | None = None

    def acquire(self, timeout: float = 5.0) -> bool:
        """Take the lock; False when another process, or another RunLock of this one, has it for `timeout` seconds.

        The waiting bridges a viewer's look, which takes microseconds, and the end of a trainer that this one replaces.
        Raises TlegError when the file system has no locks or refuses the file.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                if self._try():
                    return True
            except OSError as error:
                raise TlegError(
                    f"cannot lock {self._folder.lock_file}: {describe_os_error(error)}; "
                    "TLEG_RUNS names a folder for runs on another file system",
                    code="system",
                ) from error
            if time.monotonic() >= end:
                return False
            time.sleep(_RETRY_SECONDS)

    def release(self) -> None:
        """Give the lock back. The file stays."""
        with _guard:
            if self._file is not None and _held.get(self._file) == os.getpid():
                del _held[self._file]
            if self._descriptor is not None:
                with suppress(OSError):
                    os.close(self._descriptor)
            self._descriptor = self._file = None

    def __enter__(self) -> Self:
        if not self.acquire():
            raise InputError(f"run {self._folder.id} is running already; stop it first", code="wrong-state")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def _try(self) -> bool:
        path = self._folder.lock_file
        with _guard:
            if _held_here(path):
                return False
            # Close-on-exec: a program that a trainer starts has no use for it.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(descriptor)
                if not status.st_nlink:  # Removed between opening and locking.
                    os.close(descriptor)
                    return False
            except OSError as error:
                os.close(descriptor)
                if error.errno in _BUSY:
                    return False
                raise
            self._descriptor = descriptor
            self._file = (status.st_dev, status.st_ino)
            _held[self._file] = os.getpid()
            return True


def is_locked(folder: RunFolder) -> bool:
    """Whether a process holds the lock of a run: a look that no trainer notices, also without permission to write.

    Where that cannot be told (no permission to read, no locks on the file system) the answer is yes, so that nothing that
    may be alive is treated as dead.
    """
    path = folder.lock_file
    with _guard:
        try:
            if _held_here(path):
                return True
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        try:
            # A shared lock for a moment. Looks do not hinder each other, and a trainer that meets one tries again.
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
    return False


def _held_here(path: os.PathLike[str]) -> bool:
    """Whether this process holds the lock, seen without opening the file."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    return _held.get((status.st_dev, status.st_ino)) == os.getpid()
