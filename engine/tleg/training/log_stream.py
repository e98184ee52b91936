"""Standard output and error that go into a run's log, and that a full disk cannot turn into a failure."""

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT: Final = 1
_STDERR: Final = 2


class TolerantFile(io.RawIOBase):
    """Writes to a file descriptor; what cannot be written is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of it or, where the operating system refuses, as much as it takes. Returns the length of all."""
        content = memoryview(data).cast("B")
        done = 0
        with suppress(OSError):
            while done < len(content):
                done += os.write(self._descriptor, content[done:])
        return len(content)


def tolerate_full_disks() -> None:
    """Replace this process's standard output and error by streams that never raise."""
    for name, descriptor in (("stdout", _STDOUT), ("stderr", _STDERR)):
        getattr(sys, name).flush()
        raw: Any = TolerantFile(descriptor)  # A raw stream will do: nothing is to be buffered.
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        setattr(sys, name, stream)
