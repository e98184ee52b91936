"""A program on a pseudo-terminal: what it paints, how soon, how many bytes, how much processor time it takes."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self


class Terminal:
    """Starts `python ARGUMENTS` on a terminal of its own and reads what it paints."""

    def __init__(
        self, arguments: Sequence[str], size: tuple[int, int] = (80, 24), environment: Mapping[str, str] | None = None
    ) -> None:
        self._outer, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        variables = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        # Without byte code every start would compile the sources anew, which no installation does.
        for name in ("NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "PYTHONDONTWRITEBYTECODE"):
            variables.pop(name, None)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=inner, stdout=inner, stderr=inner, env=variables, start_new_session=True
        )
        os.close(inner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._outer)

    def read_until(self, text: str, seconds: float = 30.0) -> tuple[float, bytes]:
        """Read until a text was painted; return the time at which it came, and all that came."""
        painted, end = b"", time.perf_counter() + seconds
        while text.encode() not in painted:
            painted += self._read(end)
        return time.perf_counter(), painted

    def read_quiet(self, quiet: float = 0.3, seconds: float = 30.0) -> tuple[float, bytes]:
        """Read until nothing came for so long; return the time of the last byte, and all that came."""
        painted, last, end = b"", time.perf_counter(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            ready, _, _ = select.select([self._outer], [], [], quiet)
            if not ready:
                break
            painted += os.read(self._outer, 1 << 16)
            last = time.perf_counter()
        return last, painted

    def read_for(self, seconds: float) -> bytes:
        """Read for so long; return all that came."""
        painted, end = b"", time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            ready, _, _ = select.select([self._outer], [], [], left)
            if ready:
                painted += os.read(self._outer, 1 << 16)
        return painted

    def press(self, keys: bytes) -> float:
        """Type; return the time."""
        now = time.perf_counter()
        os.write(self._outer, keys)
        return now

    def processor_seconds(self) -> float:
        """Processor time of the program and its ended children so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _read(self, end: float) -> bytes:
        ready, _, _ = select.select([self._outer], [], [], max(0.0, end - time.perf_counter()))
        if not ready:
            raise TimeoutError("it was not painted")
        return os.read(self._outer, 1 << 16)
