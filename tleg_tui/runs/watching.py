"""All runs in all known places, looked at again and again on a thread of its own."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tleg.errors import InputError
from tleg.runs.follower import RunFollower
from tleg.runs.history import Curve
from tleg.runs.listing import SkippedFolder, list_runs
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg_tui.run_list import RunList, RunRow

# Of all histories together, at one look: some tenths of a second. The newest runs are read first.
_MOST_BYTES: Final = 4 << 20
_BYTES_OF_EVENT: Final = 200  # Roughly; a step's report.
LOSS_CELLS: Final = 48  # A number with many divisors: so many cells become 24, 16, 12 or 8 without a remainder.


class RunsWatch:
    """Looks at all runs. One that ended and has not changed since is not read again."""

    def __init__(self) -> None:
        self._followers: dict[Path, RunFollower] = {}
        self._rows: dict[Path, tuple[tuple[int, ...], RunRow]] = {}
        self._left = 0  # Bytes that may still be read at this look.

    def look(self, places: Iterable[Path]) -> RunList:
        """Return the runs of these folders as they are now. Never raises."""
        rows: dict[Path, RunRow] = {}
        skipped: list[SkippedFolder] = []
        errors: list[str] = []
        self._left = _MOST_BYTES
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
        complete = all(row.look.complete for row in ordered)
        return RunList(tuple(ordered), tuple(skipped), tuple(errors), read=True, complete=complete)

    def _row(self, folder: RunFolder) -> RunRow | None:
        stamp = _stamp(folder)
        known = self._rows.get(folder.path)
        if known is not None and known[0] == stamp and known[1].look.state.ended and known[1].look.complete:
            return known[1]
        follower = self._followers.setdefault(folder.path, RunFollower(folder))
        try:
            spec, look = read_spec(folder), follower.look(max(1, self._left))
        except InputError:
            return None  # It vanished, or was damaged, since it was listed; the next look says which.
        before = 0 if known is None else known[1].look.snapshot.events
        self._left -= max(0, look.snapshot.events - before) * _BYTES_OF_EVENT
        row = RunRow(spec, replace(look, events=()), losses_of(look.snapshot.curve, look.state.steps))
        if look.ended and look.complete:
            # What it was read with would keep its whole curve. Should the run be resumed, it is read anew.
            self._followers.pop(folder.path, None)
            row = replace(row, look=replace(row.look, snapshot=replace(look.snapshot, curve=Curve())))
        self._rows[folder.path] = (stamp, row)
        return row


def losses_of(curve: Curve, steps: int | None) -> tuple[float | None, ...]:
    """Return the mean loss over each of LOSS_CELLS equal parts of the steps; empty when no loss is known.

    A part without a step of its own, as there are in short trainings, has the loss before it.
    """
    known = [(point, point.values["loss"]) for point in curve.points if "loss" in point.values]
    if not known:
        return ()
    end = known[-1][0].last
    last = max(steps or 0, end, 1)
    counts, totals = [0] * LOSS_CELLS, [0.0] * LOSS_CELLS
    for point, loss in known:
        cells = (min(max(step - 1, 0) * LOSS_CELLS // last, LOSS_CELLS - 1) for step in (point.first, point.last))
        cell = sum(cells) // 2
        counts[cell] += loss.count
        totals[cell] += loss.total
    losses: list[float | None] = []
    for cell in range(LOSS_CELLS):
        before = losses[-1] if losses and cell * last < end * LOSS_CELLS else None
        losses.append(totals[cell] / counts[cell] if counts[cell] else before)
    return tuple(losses)


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
