"""What the workbench shows: the learngenes, the chosen one, what each of its depths costs and reaches under the budget."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from textual.content import Content

from tleg.learngene.cost import Budget
from tleg.learngene.header import LearngeneHeader, Reached
from tleg.learngene.preview import Preview, PreviewRow, preview
from tleg.text import printable
from tleg_tui.common.learngenes import Entry, Learngenes, Tuned, tuned_by_data
from tleg_tui.run_list import RunList

LEAST_DEPTHS: Final = 24


class Descendant(NamedTuple):
    """One depth of a learngene, with everything that is known of it."""

    header: LearngeneHeader
    row: PreviewRow
    batch: int
    top1: float | None
    tuned: tuple[Tuned, ...]  # On each data set, that of the table first.

    @property
    def data(self) -> str:
        """On which data `top1` was reached, as far as that is known."""
        return "" if self.header.reached is None else printable(self.header.reached.data)


class WorkbenchModel:
    """The learngenes that are offered, the chosen one, the budget, and what follows from them.

    entries  the learngenes on the list
    entry    the chosen one
    preview  of its depths under the budget; None while no learngene can be used
    budget   and `batch`, the one that memory is estimated for
    tuned    what fine-tuning reached, by data set and depth; the first data set is in the table
    pins     depths to compare, two at most
    """

    def __init__(self) -> None:
        self.entries: tuple[Entry, ...] = ()
        self.entry: Entry | None = None
        self.preview: Preview | None = None
        self.budget, self.batch = Budget(), 1
        self.tuned: dict[str, dict[int, Tuned]] = {}
        self.pins: tuple[int, ...] = ()
        self._learngenes = Learngenes()
        self._measured: dict[str, Reached] = {}  # The latest figures that were measured here, by the hash of a learngene.

    @property
    def usable(self) -> bool:
        """Whether a learngene is chosen that can be used."""
        return self.entry is not None and self.entry.file is not None

    @property
    def rows(self) -> tuple[PreviewRow, ...]:
        """The depths, the shallowest first; none while no learngene can be used."""
        return () if self.preview is None else self.preview.rows

    @property
    def header(self) -> LearngeneHeader:
        """The chosen learngene's header with the accuracies that are shown: those measured last, else those of the file.

        Those of other images or another precision are other figures: they are not mixed.
        """
        assert self.entry is not None
        assert self.entry.file is not None
        header = self.entry.file.header
        measured = self._measured.get(header.sha256)
        if measured is None:
            return header
        known = next((each.top1 for each in header.measured if each.where == measured.where), {})
        return replace(header, reached=replace(measured, top1={**known, **measured.top1}), further=())

    def find(self, opened: Iterable[str], runs: RunList) -> Entry | None:
        """List the learngenes anew. Return the chosen one where it was written anew, with accuracies for example."""
        self.entries = self._learngenes.find(opened, Path.cwd(), runs)
        chosen = self.entry
        current = next((each for each in self.entries if chosen is not None and each.path == chosen.path), None)
        return current if current != chosen else None

    def choose(self, entry: Entry, runs: RunList) -> None:
        """Choose a learngene; pins are of the one before."""
        self.entry = entry
        if entry.file is None:
            self.preview = None
            return
        self.pins = ()
        self.tuned = tuned_by_data(entry, runs)

    def look_at_runs(self, runs: RunList) -> bool:
        """Take over what runs reached by fine-tuning; whether that is news."""
        if self.entry is None:
            return False
        before, self.tuned = self.tuned, tuned_by_data(self.entry, runs)
        return self.tuned != before

    def look_at_depths(self) -> Preview:
        """Make the preview anew, for the budget and the accuracies as they are now."""
        header = self.header
        depths = range(1, max(LEAST_DEPTHS, 2 * header.auxiliary.depth) + 1)
        self.preview = preview(header, depths, self.budget, self.batch)
        return self.preview

    def take_measured(self, found: Reached) -> None:
        """Remember accuracies of the chosen learngene that were just measured."""
        key = self.header.sha256
        earlier = self._measured.get(key)
        if earlier is not None and earlier.where == found.where:
            found = replace(found, top1={**earlier.top1, **found.top1})
        self._measured[key] = found

    def pin(self, depth: int) -> None:
        """Pin a depth, or take its pin away. Of three the oldest goes."""
        self.pins = tuple(pin for pin in self.pins if pin != depth) if depth in self.pins else (*self.pins, depth)[-2:]

    def descendant(self, depth: int) -> Descendant:
        """Return what is known of a depth."""
        row = self.rows[depth - 1]
        tuned = tuple(depths[depth] for depths in self.tuned.values() if depth in depths)
        return Descendant(self.header, row, self.batch, row.top1, tuned)

    def verdict(self) -> Content:
        """Which depths fit the budget, and on which data the accuracies of the table were reached."""
        return Content("   ").join(filter(None, (self._fitting(), self._measured_on())))

    def _fitting(self) -> Content:
        if not self.budget.limited:
            return Content.styled("no budget: / sets one", "$foreground-muted")
        fitting = [row.depth for row in self.rows if row.fits]
        if not fitting:
            return Content.styled(f"no depth fits; depth 1 exceeds {limits_exceeded(self.rows[0])}", "$warning")
        span = f"{fitting[0]}–{fitting[-1]}" if len(fitting) > 1 else str(fitting[0])
        return Content.assemble(
            ("fits: ", "$foreground-muted"), span, (", deepest ", "$foreground-muted"), (f"{fitting[-1]}", "bold $accent")
        )

    def _measured_on(self) -> Content:
        reached, tuned = self.header.reached, next(iter(self.tuned), "")
        named = [f"Top-1 on {printable(reached.data)}"] if reached is not None else []
        named += [f"Tuned on {tuned}"] if tuned else []
        return Content.styled(", ".join(named), "$foreground-muted")


def limits_exceeded(row: PreviewRow) -> str:
    """Name the limits that a depth exceeds, as the budget does."""
    names = {"macs": "GMACs", "inference_memory": "memory", "training_memory": "training memory"}
    return ", ".join(names.get(name, name) for name in row.exceeds)
