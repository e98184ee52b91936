"""A trainer's process: the signals that ask it to save and end, and a log that a full disk cannot stop."""

import io
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tleg.runs.processes import job_cancelled

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


# Save, and ask to be started again: what a SLURM job gets some time before its end.
CONTINUE_LATER: Final = signal.SIGUSR1


class StopSignals:
    """Remembers the first signal that came. The step in progress is finished, and the loop asks here after it."""

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self) -> None:
        """Handle SIGTERM, SIGINT and SIGUSR1; ignore SIGHUP, which comes when a terminal closes."""
        for number in (signal.SIGTERM, signal.SIGINT, CONTINUE_LATER):
            signal.signal(number, self._remember)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _remember(self, number: int, frame: object) -> None:
        self.received = self.received or number

    def continues(self, *, batch_job: bool) -> bool:
        """Whether what was received means that the run is to be started again.

        A SIGTERM to a batch job is SLURM's, not the user's, unless the job was cancelled: it is preempted, or its machine is
        needed. Whoever asks through the run's folder sends no signal.
        """
        if self.received == CONTINUE_LATER:
            return True
        job_id = os.environ.get("SLURM_JOB_ID")
        return batch_job and self.received == signal.SIGTERM and job_id is not None and not job_cancelled(job_id)
