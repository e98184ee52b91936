"""Following one run for the Run screen: its events, its state and what its trainer prints, read on a thread."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from textual.message import Message

from tleg.errors import InputError
from tleg.runs.control import stop_requested
from tleg.runs.follower import RunFollower, RunLook
from tleg.runs.run import RunFolder
from tleg.runs.spec import RunSpec, read_spec

# Of the events at one look: some ten milliseconds of reading, so that keys never wait for a long history.
PIECE_BYTES: Final = 1 << 18
# Of a log that is there already, and at one look.
TAIL_BYTES: Final = 256 << 10
_LONGEST_LINE: Final = 2000


class LogTail:
    """Reads the lines that a growing log got since the last time. Of one that is long already, the end.

    A last line without its end waits for the next time. A log that got shorter, or was replaced, is read anew. Of a line
    that a program wrote over with carriage returns, the last text counts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset: int | None = None
        self._file: tuple[int, int] | None = None

    def read(self) -> tuple[str, ...]:
        """Return the new lines. Never raises: a log that is not there has no lines."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ()
        try:
            facts = os.fstat(descriptor)
            if self._file != (facts.st_dev, facts.st_ino) or facts.st_size < (self._offset or 0):
                self._file, self._offset = (facts.st_dev, facts.st_ino), None
            skipped = False
            if self._offset is None:
                self._offset = max(0, facts.st_size - TAIL_BYTES)
                skipped = self._offset > 0
            data = os.pread(descriptor, TAIL_BYTES, self._offset)
        except OSError:
            return ()
        finally:
            os.close(descriptor)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == TAIL_BYTES:
            end = len(data)  # A line without end is shown in pieces.
        self._offset += end
        lines = data[:end].decode("utf-8", "replace").split("\n")
        if data[:end].endswith(b"\n"):
            lines.pop()
        if not end:
            return ()
        return tuple(_clean(line) for line in (lines[1:] if skipped else lines))


def _clean(line: str) -> str:
    text = line.rstrip("\r").rpartition("\r")[2].expandtabs(4)
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


@dataclass(frozen=True, slots=True)
class Watched:
    """A run at one look.

    lines            new lines of its log
    asked_to_stop    whether somebody asked it to stop
    result           where its result is, as long as it is there
    spec             what it is; None when that cannot be read
    """

    look: RunLook
    lines: tuple[str, ...] = ()
    asked_to_stop: bool = False
    result: Path | None = None
    spec: RunSpec | None = None


class RunLooked(Message):
    """One run was looked at, and something is new. A newer look replaces one that waits, but no line of its log."""

    def __init__(self, seen: Watched) -> None:
        super().__init__()
        self.seen = seen

    def can_replace(self, message: Message) -> bool:
        """Whether the newer message makes this one void."""
        return isinstance(message, RunLooked) and message.seen.look.folder == self.seen.look.folder and not self.seen.lines


class RunWatch:
    """Looks at a run again and again. `look` blocks and belongs on a thread; any number of watches may look at one run."""

    def __init__(self, folder: RunFolder, *, log: bool = True) -> None:
        self.folder = folder
        self._follower = RunFollower(folder)
        self._log = LogTail(folder.log_file) if log else None
        self._spec: RunSpec | None = None
        self._stamp: object = None
        self._last: Watched | None = None

    def look(self) -> Watched | None:
        """Return the run as it is now, or None when nothing changed since the last time. A long history comes in pieces."""
        look = self._follower.look(PIECE_BYTES)
        self._read_spec()
        result = look.state.result
        path = None if result is None or look.state.state != "finished" else Path(result)
        seen = Watched(
            look,
            self._log.read() if self._log is not None else (),
            stop_requested(self.folder),
            path if path is not None and path.exists() else None,
            self._spec,
        )
        if self._last is not None and not look.events and not seen.lines and _comparable(seen) == _comparable(self._last):
            return None
        self._last = seen
        return seen

    def _read_spec(self) -> None:
        """Read spec.json when it is new: resuming with other values changes it."""
        try:
            facts = self.folder.spec_file.stat()
            stamp = facts.st_mtime_ns, facts.st_size
            if stamp != self._stamp:
                self._spec, self._stamp = read_spec(self.folder), stamp
        except (InputError, OSError):
            pass  # What was read before still holds.


def _comparable(seen: Watched) -> Watched:
    """What is worth showing: a heartbeat alone is no news, and what was new then is not now."""
    look = replace(seen.look, state=replace(seen.look.state, heartbeat=None), events=())
    return replace(seen, look=look, lines=())
