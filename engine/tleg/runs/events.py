"""What happened in a run: one JSON object a line, appended by one writer.

A line is {"v": 1, "seq": …, "t": …, "type": …, "payload": {…}}: the version of this format, a number that counts the events
of a run, Unix time, and a type with its payload. Readers ignore types and keys that they do not know; `v` changes only when
a known one changes its meaning. A number that is not finite is stored as null.

The types, with what their payloads hold, are the classes of `tleg.runs.reports`; docs/runs.md lists them.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from json import JSONDecoder
from types import TracebackType
from typing import Any, Final, Self

from tleg.errors import describe_os_error
from tleg.runs.payload import Report
from tleg.runs.reports import REPORTS, WarningReport
from tleg.runs.run import RunFolder
from tleg.serialize import to_json

EVENT_VERSION: Final = 1
EVENTS_LOST: Final = "events-lost"  # The code of the warning about events that could not be written.
NO_CHECKPOINT: Final = "checkpoint"  # The same of a checkpoint, with its step.
_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Event:
    """One line of events.jsonl. `t` is Unix time, for people to read: clocks jump, `seq` does not."""

    v: int
    seq: int
    t: float
    type: str
    payload: Mapping[str, Any]

    def read(self) -> Report | None:
        """Return what the event says, as the class of its type; None for a type that is not known. Never raises."""
        kind = REPORTS.get(self.type)
        return None if kind is None else kind.read(self.t, self.payload)


def parse_event(line: str | bytes) -> Event | None:
    """Return the event of a line, or None when it is torn, or of another version."""
    try:
        document = json.loads(line)
        return Event(document["v"], document["seq"], document["t"], document["type"], document["payload"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def is_sound(event: Event) -> bool:
    """Whether an event has the types and the version that it should have."""
    return (
        event.v == EVENT_VERSION
        and type(event.seq) is int
        and type(event.t) in (int, float)
        and type(event.type) is str
        and type(event.payload) is dict
    )


class EventWriter:
    """The one writer of a run's events. It never raises: what cannot be written is counted, and reported once it can.

    Each event reaches the operating system before `write` returns, so a killed process loses none. Threads may share a
    writer. Numbers go on after those in the file; a line that a kill left torn is ended, and ignored by readers.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.events_file
        # Signal handlers may write while the same thread writes.
        self._lock = threading.RLock()
        self._descriptor: int | None = None
        self._next = 0
        self._torn = False
        self._lost = 0
        self._unreported = 0
        self._why = ""

    @property
    def lost(self) -> int:
        """How many events could not be written."""
        return self._lost

    def write(self, type: str, payload: Mapping[str, Any]) -> None:  # noqa: A002 (the name in the file)
        """Append one event."""
        with self._lock:
            try:
                self._open()
                if self._unreported:
                    count = f"{self._unreported} event{'s' if self._unreported > 1 else ''}"
                    text = f"{count} could not be written: {self._why}"
                    lost = WarningReport(code=EVENTS_LOST, text=text)
                    self._append(lost.kind, lost.payload())
                    self._unreported = 0
                self._append(type, payload)
            except OSError as error:
                self._lost += 1
                self._unreported += 1
                self._why = describe_os_error(error)
                self.close()  # What is wrong may be the descriptor itself.

    def report(self, report: Report) -> None:
        """Append the event of a report. Its time is that of the writing."""
        self.write(report.kind, report.payload())

    def close(self) -> None:
        """Give the file back. A later `write` opens it again."""
        with self._lock:
            if self._descriptor is not None:
                with suppress(OSError):
                    os.close(self._descriptor)
                self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        """Have the file open: for the first time, or again when it was removed."""
        if self._descriptor is not None:
            if os.fstat(self._descriptor).st_nlink:
                return
            self.close()
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            last, self._torn = _last_number(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._next = max(self._next, last + 1)
        self._descriptor = descriptor

    def _append(self, name: str, payload: Mapping[str, Any]) -> None:
        """Append a line whole, or raise OSError."""
        assert self._descriptor is not None
        document = {"v": EVENT_VERSION, "seq": self._next, "t": time.time(), "type": name, "payload": payload}
        line = to_json(document).encode("ascii") + b"\n"
        data = b"\n" + line if self._torn else line
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            if written:
                self._undo(written)
            raise
        self._torn = False
        self._next += 1

    def _undo(self, written: int) -> None:
        """Take back a part of a line. Readers have not used it yet: they wait for the end of the line."""
        assert self._descriptor is not None
        try:
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
        except OSError:
            self._torn = True


def _last_number(descriptor: int) -> tuple[int, bool]:
    """The number of the last whole event, -1 without one, and whether the file ends within a line."""
    end = size = os.fstat(descriptor).st_size
    if not size:
        return -1, False
    torn = os.pread(descriptor, 1, size - 1) != b"\n"
    tail = b""
    while end:
        start = max(0, end - _BLOCK)
        tail = os.pread(descriptor, end - start, start) + tail
        end = start
        # Of the first line in `tail` a part may be missing, as long as there is more in front of it.
        first, *lines = tail.split(b"\n")
        for line in reversed(lines if start else [first, *lines]):
            event = parse_event(line)
            if event is not None and type(event.seq) is int:
                return event.seq, torn
        tail = first
    return -1, torn


_DECODE: Final = JSONDecoder().raw_decode
_CHUNK: Final = 8 << 20
_HEAD: Final = 128


class EventReader:
    """Reads what was appended since the last time. Any number of readers may follow one run.

    A last line without its end is left for the next time. Lines that are torn, or of another version, are counted in
    `broken` and left out; `broken_at` is when the last of them was written, as far as is known: the time of the event before
    it, else of the one after, else when it was read. A file that got shorter, was replaced, or vanished and came back is
    read from its beginning; `restarts` counts that, and what was made of the earlier events is then void.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.events_file
        self._offset = 0
        self._head = b""  # How the file begins; it never changes in a file that is only appended to.
        self._last_t: float | None = None
        self.broken = 0
        self.broken_at: float | None = None
        self.restarts = 0

    @property
    def offset(self) -> int:
        """Bytes read so far, up to the end of a line."""
        return self._offset

    def read(self, most_bytes: int | None = None) -> list[Event]:
        """Return the new events, oldest first. An empty list means that there are none now, whatever the reason.

        With `most_bytes` one call reads about so much, for a viewer that folds a long run in pieces.
        """
        events: list[Event] = []
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return events
        try:
            self._check_same(descriptor)
            chunk = _CHUNK if most_bytes is None else max(1, min(most_bytes, _CHUNK))
            left = most_bytes
            while left is None or left > 0 or not events:
                data = os.pread(descriptor, chunk, self._offset)
                end = data.rfind(b"\n") + 1
                if not end:
                    if len(data) < chunk:
                        break
                    chunk *= 2  # A line that is longer than that.
                    continue
                self._parse(data[:end], events)
                self._offset += end
                left = None if left is None else left - end
            if len(self._head) < _HEAD:
                self._head = os.pread(descriptor, min(_HEAD, self._offset), 0)
        except OSError:
            pass  # A file server that went away: the next call tries again.
        finally:
            os.close(descriptor)
        if self.broken and self.broken_at is None:
            self.broken_at = events[0].t if events else time.time()
        if events:
            self._last_t = events[-1].t
        return events

    def _check_same(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_size < self._offset or os.pread(descriptor, len(self._head), 0) != self._head:
            self._offset = 0
            self._head = b""
            self._last_t = None
            self.broken = 0
            self.broken_at = None
            self.restarts += 1

    def _parse(self, data: bytes, events: list[Event]) -> None:
        append = events.append
        for line in data.decode("utf-8", "replace").split("\n"):
            if not line:
                continue
            try:
                document, end = _DECODE(line)
                event = Event(document["v"], document["seq"], document["t"], document["type"], document["payload"])
            except (ValueError, RecursionError, KeyError, TypeError):
                self._count_broken(events)
                continue
            if end == len(line) and is_sound(event):
                append(event)
            else:
                self._count_broken(events)

    def _count_broken(self, events: list[Event]) -> None:
        self.broken += 1
        self.broken_at = events[-1].t if events else self._last_t
