"""Following a run's events while they are written."""

import os
import time
from json import JSONDecoder
from typing import Final

from tleg.runs.events import Event, is_sound
from tleg.runs.layout import RunFolder

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
