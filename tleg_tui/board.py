"""All runs in all known places, looked at again and again on a thread of its own."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError
from tleg.runs.follower import ENDED, RunFollower, RunLook
from tleg.runs.layout import RunFolder
from tleg.runs.listing import SkippedFolder, list_runs
from tleg.runs.spec import RunSpec, read_spec
from tleg.runs.state import StateName

_MOST_BYTES: Final = 8 << 20  # Of one run's history, at one look.


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: what it is, and where it stands."""

    spec: RunSpec
    look: RunLook

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return self.look.folder

    @property
    def id(self) -> str:
        """The run's id."""
        return self.look.folder.id

    @property
    def state(self) -> StateName:
        """Where it stands, in a word."""
        return self.look.state.state

    @property
    def top1(self) -> float | None:
        """The best accuracy so far, in percent."""
        best = self.look.snapshot.best
        return None if best is None else best.top1

    @property
    def result(self) -> Path | None:
        """Where the result is, once the run is finished and as long as it is there."""
        if self.state != "finished" or self.look.state.result is None:
            return None
        path = Path(self.look.state.result)
        return path if path.exists() else None

    def recipe_value(self, name: str) -> Any:
        """A value of its recipe; None when it has none."""
        return self.spec.recipe.get(name)


@dataclass(frozen=True, slots=True)
class RunList:
    """The runs of all places, the newest first, and what stands among them that is none. `errors` are places that failed."""

    rows: tuple[RunRow, ...] = ()
    skipped: tuple[SkippedFolder, ...] = ()
    errors: tuple[str, ...] = ()
    read: bool = False

    @property
    def at_work(self) -> tuple[RunRow, ...]:
        """Runs that are being trained."""
        return tuple(row for row in self.rows if row.state in ("starting", "running", "stopping"))


class RunBoard:
    """Looks at all runs. One that ended and has not changed since is not read again."""

    def __init__(self) -> None:
        self._followers: dict[Path, RunFollower] = {}
        self._rows: dict[Path, tuple[tuple[int, ...], RunRow]] = {}

    def look(self, places: Iterable[Path]) -> RunList:
        """Return the runs of these folders as they are now. Never raises."""
        rows: dict[Path, RunRow] = {}
        skipped: list[SkippedFolder] = []
        errors: list[str] = []
        for place in dict.fromkeys(path.absolute() for path in places):
            try:
                listing = list_runs(place)
            except InputError as error:
                errors.append(str(error))
                continue
            skipped += listing.skipped
            for folder in listing:
                if folder.path not in rows and (row := self._row(folder)) is not None:
                    rows[folder.path] = row
        self._followers = {path: follower for path, follower in self._followers.items() if path in rows}
        self._rows = {path: kept for path, kept in self._rows.items() if path in rows}
        ordered = sorted(rows.values(), key=lambda row: (row.spec.created, row.id), reverse=True)
        return RunList(tuple(ordered), tuple(skipped), tuple(errors), read=True)

    def _row(self, folder: RunFolder) -> RunRow | None:
        stamp = _stamp(folder)
        known = self._rows.get(folder.path)
        if known is not None and known[0] == stamp and known[1].state in ENDED and known[1].look.complete:
            return known[1]
        follower = self._followers.setdefault(folder.path, RunFollower(folder))
        try:
            row = RunRow(read_spec(folder), follower.look(_MOST_BYTES))
        except InputError:
            return None  # It vanished, or was damaged, since it was listed; the next look says which.
        self._rows[folder.path] = (stamp, row)
        return row


def _stamp(folder: RunFolder) -> tuple[int, ...]:
    """What changes when a run does."""
    stamp: list[int] = []
    for path in (folder.state_file, folder.events_file, folder.spec_file):
        try:
            facts = path.stat()
            stamp += (facts.st_mtime_ns, facts.st_size)
        except OSError:
            stamp += (0, 0)
    return tuple(stamp)
