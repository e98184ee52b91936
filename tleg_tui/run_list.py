"""What is known of all runs, as values. Light: the first paint needs it, and what reads runs comes after that."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tleg.runs.follower import RunLook
    from tleg.runs.listing import SkippedFolder
    from tleg.runs.run import RunFolder
    from tleg.runs.spec import RunSpec
    from tleg.runs.state import StateName


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: what it is, and where it stands.

    losses  the mean loss over each of LOSS_CELLS equal parts of the planned steps; None where nothing is known. Of a run
            that ended this is what is left of its curve, because hundreds of whole curves would fill the memory.
    """

    spec: "RunSpec"
    look: "RunLook"
    losses: tuple[float | None, ...] = ()

    @property
    def folder(self) -> "RunFolder":
        """The run's folder."""
        return self.look.folder

    @property
    def id(self) -> str:
        """The run's id."""
        return self.look.folder.id

    @property
    def state(self) -> "StateName":
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
    """The runs of all places, the newest first, and what stands among them that is none.

    errors    places that failed, each in a sentence
    read      whether anybody has looked yet
    complete  whether all histories were read to their ends; the next look goes on with the rest
    """

    rows: tuple[RunRow, ...] = ()
    skipped: "tuple[SkippedFolder, ...]" = ()
    errors: tuple[str, ...] = ()
    read: bool = False
    complete: bool = True

    @property
    def at_work(self) -> tuple[RunRow, ...]:
        """Runs that are being trained."""
        return tuple(row for row in self.rows if row.look.state.at_work)


STATE_COLOURS: Final = {
    "running": "$success",
    "finished": "$success",
    "stopping": "$warning",
    "stopped": "$warning",
    "failed": "$error",
    "lost": "$error",
}
