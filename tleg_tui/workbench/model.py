"""What the workbench shows: the learngenes, the chosen one, what each of its depths costs and reaches under the budget."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from textual.content import Content

from tleg.errors import InputError
from tleg.learngene.frontier import Frontier, make_frontier
from tleg.learngene.header import LearngeneHeader, Reached
from tleg.learngene.preview import Preview, PreviewRow, measured_for, preview
from tleg.learngene.profile import format_depth
from tleg.text import format_image_size, join_words, printable
from tleg.tuned import Place, Tuned, tuned_points
from tleg_tui.common.learngenes import Entry, Learngenes, tuned_by_data
from tleg_tui.run_list import RunList
from tleg_tui.workbench.budget import Wanted
from tleg_tui.workbench.rows import Rows, format_place, place_of


class Descendant(NamedTuple):
    """One row of the table, with everything that is known of it. The header is that with inputs of its size."""

    header: LearngeneHeader
    row: PreviewRow
    batch: int
    top1: float | None
    tuned: tuple[Tuned, ...]  # On each data set, that of the table first.
    sized: bool = False  # Whether its size has to be said.

    @property
    def name(self) -> str:
        """'depth 8', 'depth 2-2-6-2 at 160 pixels'."""
        return format_place(place_of(self.row), sized=self.sized)

    @property
    def data(self) -> str:
        """On which data `top1` was reached, as far as that is known."""
        return "" if self.header.reached is None else printable(self.header.reached.data)


class WorkbenchModel:
    """The learngenes that are offered, the chosen one, the budget, and what follows from them.

    entries  the learngenes on the list
    entry    the chosen one
    preview  of its depths under the budget; None while no learngene can be used
    wanted   the budget, the batch and the device that it is for
    asked    which depths and sizes the table shall have
    problem  why the table has not those depths, `refused` why not all of those sizes, and `unmeasured` why not the latencies
             of the device; empty where it has, or will have
    tuned    what fine-tuning reached, by data set and place; the first data set is in the table
    pins     descendants to compare, two at most
    """

    def __init__(self) -> None:
        self.entries: tuple[Entry, ...] = ()
        self.entry: Entry | None = None
        self.preview: Preview | None = None
        self.wanted = Wanted()
        self.asked, self.problem, self.refused, self.unmeasured = Rows(), "", "", ""
        self.tuned: dict[str, dict[Place, Tuned]] = {}
        self.pins: tuple[Place, ...] = ()
        self._learngenes = Learngenes()
        # The latest figures that were measured here, and headers, by the hash of a learngene and the size of the inputs.
        self._measured: dict[tuple[str, tuple[int, int]], Reached] = {}
        self._sized: dict[tuple[str, tuple[int, int]], LearngeneHeader] = {}

    @property
    def usable(self) -> bool:
        """Whether a learngene is chosen that can be used."""
        return self.entry is not None and self.entry.file is not None

    @property
    def rows(self) -> tuple[PreviewRow, ...]:
        """The descendants: of each size the shallowest first; none while no learngene can be used."""
        return () if self.preview is None else self.preview.rows

    @property
    def own(self) -> LearngeneHeader:
        """The chosen learngene's header as its file has it."""
        assert self.entry is not None
        assert self.entry.file is not None
        return self.entry.file.header

    @property
    def header(self) -> LearngeneHeader:
        """The chosen learngene's header with inputs of the size that it was learned on: see `headers`."""
        return self._with_measured(self.own)

    @property
    def headers(self) -> list[LearngeneHeader]:
        """The chosen learngene's header at each size that is known of those asked for, with the accuracies that are shown.

        These are those measured last, else those of the file. Those of other images or another precision are other figures:
        they are not mixed.
        """
        return [self._with_measured(each) for size in self.asked.sizes_of(self.own) if (each := self._at(size)) is not None]

    @property
    def unknown_sizes(self) -> tuple[tuple[int, int], ...]:
        """The sizes that were asked for at which it is not known what descendants cost."""
        return tuple(size for size in self.asked.sizes_of(self.own) if self._at(size) is None)

    def take_header(self, header: LearngeneHeader) -> None:
        """Remember a learngene's header with inputs of another size."""
        self._sized[header.sha256, header.image_size] = header

    def _at(self, size: tuple[int, int]) -> LearngeneHeader | None:
        return self.own if size == self.own.image_size else self._sized.get((self.own.sha256, size))

    def _with_measured(self, header: LearngeneHeader) -> LearngeneHeader:
        measured = self._measured.get((header.sha256, header.image_size))
        if measured is None:
            return header
        known = next((each.by_depth for each in header.measured if each.where == measured.where), {})
        together = {**known, **measured.by_depth}
        return replace(header, reached=Reached.of(measured.data, measured.images, together, measured.precision), further=())

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
        """Make the preview anew, for the rows, the budget and the accuracies as they are now.

        Of what cannot be shown `problem` says why, and the usual depths are there instead.
        """
        headers = self.headers or [self.header]  # While no size is known yet.
        wanted = self._timed(headers)
        try:
            self.preview = preview(headers, self.asked.depths_of(self.own), wanted.budget, wanted.batch, wanted.device)
            self.problem = ""
        except InputError as error:
            usual = Rows().depths_of(self.own)
            self.preview = preview(headers, usual, wanted.budget, wanted.batch, wanted.device)
            self.problem = str(error)
        return self.preview

    def _timed(self, headers: list[LearngeneHeader]) -> Wanted:
        """What is wanted, without the device and the limit that needs it where it was measured with something else."""
        self.unmeasured = ""
        wanted = self.wanted
        try:
            preview(headers, (headers[0].auxiliary.depth,), wanted.budget, wanted.batch, wanted.device)
        except InputError as error:
            self.unmeasured = str(error)
            return replace(wanted, device=None, budget=replace(wanted.budget, latency=None))
        return wanted

    def frontier(self, axis: str, row: PreviewRow | None) -> Frontier | None:
        """Return what the depths reach over a cost, with a row marked; None while no learngene can be used."""
        if self.preview is None:
            return None
        return make_frontier(self.preview, axis, row, tuned_points(self.tuned))

    def take_measured(self, found: Reached) -> None:
        """Remember accuracies of the chosen learngene that were just measured."""
        size = found.image_size or self.own.image_size
        found = replace(found, image_size=None)
        earlier = self._measured.get((self.own.sha256, size))
        if earlier is not None and earlier.where == found.where:
            found = Reached.of(found.data, found.images, {**earlier.by_depth, **found.by_depth}, found.precision)
        self._measured[self.own.sha256, size] = found

    def pin(self, place: Place) -> None:
        """Pin a descendant, or take its pin away. Of three the oldest goes."""
        self.pins = tuple(pin for pin in self.pins if pin != place) if place in self.pins else (*self.pins, place)[-2:]

    def pinned(self) -> list[Descendant]:
        """The pinned descendants that the table has, in its order."""
        return [self.descendant(row) for row in self.rows if place_of(row) in self.pins]

    def descendant(self, row: PreviewRow) -> Descendant:
        """Return what is known of a row."""
        tuned = tuple(places[place] for places in self.tuned.values() if (place := place_of(row)) in places)
        header = next((each for each in self.headers if each.image_size == row.image_size), self.header)
        return Descendant(header, row, self.wanted.batch, row.top1, tuned, bool(self.asked.image_sizes))

    def verdict(self) -> Content:
        """Which depths fit the budget, and on which data the accuracies of the table were reached."""
        return Content("   ").join(filter(None, (self._missing(), self._fitting(), self._measured_on())))

    def _missing(self) -> Content:
        unknown = self.unknown_sizes
        if wrong := self.problem or (self.refused if unknown else "") or self.unmeasured:
            return Content.styled(printable(wrong), "$warning")
        if unknown:
            sizes = join_words(list(map(format_image_size, unknown)))
            return Content.styled(f"looking at {sizes} pixels", "$foreground-muted")
        return Content()

    def _fitting(self) -> Content:
        if self.preview is None or not self.preview.budget.limited:
            return Content.styled("no budget: / sets one", "$foreground-muted")
        sized, choice, grey = self.preview.sized, self.preview.choice, "$foreground-muted"
        fitting = [format_depth(row.depth) for row in self.rows if row.fits]
        if choice is None:
            least = min(self.rows, key=lambda row: row.cost.macs)
            named = format_place(place_of(least), sized=sized)
            return Content.styled(f"no depth fits; {named} exceeds {limits_exceeded(least)}", "$warning")
        if sized:
            named = format_place(place_of(choice), sized=True)
            reached = ", the largest" if choice.top1 is None else f", {choice.top1:.1f} %"
            return Content.assemble(("best that fits: ", grey), (named, "bold $accent"), (reached, grey))
        first, last = fitting[0], fitting[-1]
        dash = " … " if "-" in first + last else "–"
        span = first if len(fitting) == 1 else f"{first}{dash}{last}"
        deepest = format_depth(choice.depth)
        return Content.assemble(("fits: ", grey), span, (", deepest ", grey), (deepest, "bold $accent"))

    def _measured_on(self) -> Content:
        reached, tuned = measured_for(self.headers), next(iter(self.tuned), "")
        named = [f"Top-1 on {printable(reached.data)}"] if reached is not None else []
        named += [f"Tuned on {tuned}"] if tuned else []
        named += [f"Latency on {printable(str(self.wanted.device))}"] if self.wanted.device and not self.unmeasured else []
        return Content.styled(", ".join(named), "$foreground-muted")


def limits_exceeded(row: PreviewRow) -> str:
    """Name the limits that a depth exceeds, as the budget does."""
    names = {"macs": "GMACs", "inference_memory": "memory", "training_memory": "training memory"}
    return ", ".join(names.get(name, name) for name in row.exceeds)
