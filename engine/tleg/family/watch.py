"""One look at a family that is made, or was: its progress, what is there by now, its runs. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tleg.errors import TlegError
from tleg.family.progress import FamilyProgress, last_words, read_progress
from tleg.family.results import DeviceSlice, read_slices
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, observe
from tleg.runs.work import WorkFolder

REPORT: Final = "report.html"


@dataclass(frozen=True, slots=True)
class FamilyLook:
    """A family as it was at one look.

    devices  what is made, by device, where it is done
    runs     by ancestor, learngene or device: its training, where there is one, and how that is
    report   its report, once all is done
    problem  why nothing goes on, in words; None while something does, or when all is done
    """

    progress: FamilyProgress | None = None
    devices: Mapping[str, DeviceSlice] = field(default_factory=dict)
    runs: Mapping[str, tuple[RunFolder, RunState]] = field(default_factory=dict)
    report: Path | None = None
    problem: str | None = None


def look_at_family(folder: Path) -> FamilyLook:
    """Return how the family of a folder is. Never raises: what cannot be read is the problem."""
    try:
        progress = read_progress(folder)
        if progress is None:
            return FamilyLook(problem=f"no family was begun in {folder}")
        results, work = read_slices(folder), WorkFolder(folder, "family")
        work.read()
    except TlegError as error:
        return FamilyLook(problem=str(error))
    done = {name for name, step in progress.steps.items() if step.stage == "done"}
    devices = {each.name: each for each in (results.devices if results else ()) if each.name in done}
    found = {name: run for name in progress.steps if (run := work.run_of(name)) is not None}
    problem = progress.problem
    if progress.lost:
        problem = f"its process is gone: {last_words(folder) or 'it said nothing'}"
    report = folder / REPORT
    complete = progress.ended is not None and progress.problem is None and report.is_file()
    return FamilyLook(
        progress,
        devices,
        {name: (run, observe(run)) for name, run in found.items()},
        report if complete else None,
        problem,
    )
