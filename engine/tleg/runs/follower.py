"""One look after another at a run, for whoever shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tleg.runs.events import Event, EventReader
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, observe


@dataclass(frozen=True, slots=True)
class RunLook:
    """A run as it was at one look.

    events    what happened since the look before
    complete  whether all events were read; a long run may be read in pieces
    gone      whether its folder was removed, or moved
    broken    lines of the events that could not be read
    broken_at when the last of them was written, as `EventReader` knows it
    """

    folder: RunFolder
    state: RunState
    snapshot: RunSnapshot
    events: Sequence[Event] = ()
    complete: bool = True
    gone: bool = False
    broken: int = 0
    broken_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state.ended


class RunFollower:
    """Reads what is new in a run at every look, and keeps what all of it amounts to. Never raises."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._reader = EventReader(folder)
        self._snapshot = RunSnapshot()

    def look(self, most_bytes: int | None = None) -> RunLook:
        """Return the run as it is now. With `most_bytes` a long history is read in pieces, one a look."""
        if not self.folder.exists:
            return replace(self._look(observe(self.folder)), gone=True)
        restarts, before = self._reader.restarts, self._reader.offset
        # The state first: what it says has been written to the events before.
        state = observe(self.folder)
        events = self._reader.read(most_bytes)
        if self._reader.restarts != restarts:
            self._snapshot, before = RunSnapshot(), 0
        self._snapshot = fold(self._snapshot, events)
        complete = most_bytes is None or self._reader.offset - before < most_bytes
        return replace(self._look(state), events=events, complete=complete)

    def _look(self, state: RunState) -> RunLook:
        broken, at = self._reader.broken, self._reader.broken_at
        return RunLook(self.folder, state, self._snapshot, broken=broken, broken_at=at)
