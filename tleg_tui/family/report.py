"""What a family became: each device with its file and figures, and where the report for people lies."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from rich.cells import cell_len
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.widgets.option_list import Option

from tleg.errors import TlegError
from tleg.family.results import DeviceSlice, FamilyResults, read_slices
from tleg.text import format_bytes, format_latency, printable
from tleg_tui.actions import bindings
from tleg_tui.common.bars import TitleBar
from tleg_tui.common.cells import fit
from tleg_tui.common.inputs import OptionList
from tleg_tui.common.screens import WorkScreen
from tleg_tui.common.wording import explained, said

_TITLES: Final = ("device", "file", "depth", "size", "top-1", "latency", "state")
_RIGHT: Final = (2, 3, 4, 5)  # Columns of numbers.
_MOST: Final = (16, 22)  # Cells of a name and of a file.
_NONE: Final = "–"


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A device in the table: its cells in the order of the titles, a sentence about it, and how it came out."""

    cells: tuple[str, ...]
    about: str
    colour: str


class FamilyReportScreen(WorkScreen):
    """The table of a family's devices. What is chosen says more below, and the last line where report.html is."""

    SCOPE = "family_report"
    NAME = "family"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("family_report")]
    DEFAULT_CSS = """
    FamilyReportScreen #titles { height: 1; padding: 0 1; color: $text-muted; text-style: bold; }
    FamilyReportScreen #rows { height: 1fr; border: none; background: transparent; padding: 0 1; }
    FamilyReportScreen #rows { text-wrap: nowrap; text-overflow: ellipsis; }
    FamilyReportScreen #chosen { height: 4; padding: 0 1; border-top: solid $panel; color: $text-muted; }
    FamilyReportScreen #status { height: auto; max-height: 4; padding: 0 1; }
    FamilyReportScreen #status.-wrong { color: $error; }
    """

    class Read(Message):
        """The results were read, or could not be: then a sentence says why."""

        def __init__(self, results: FamilyResults | None, problem: str | None) -> None:
            super().__init__()
            self.results = results
            self.problem = problem

    def __init__(self, folder: Path, report: Path) -> None:
        """`report` is the file with tables and plots."""
        super().__init__()
        self._folder, self._report = folder, report
        self._rows: tuple[ReportRow, ...] = ()

    def compose_body(self) -> ComposeResult:
        """Titles, a line for each device, a sentence on the chosen one, and where the report is."""
        with Vertical():
            yield Static(id="titles", markup=False)
            yield OptionList(id="rows", compact=True)
            yield Static(id="chosen", markup=False)
            yield Static(id="status", markup=False)

    def on_mount(self) -> None:
        """Read the results."""
        self.query_one(TitleBar).title = f"report of the family in {printable(str(self._folder))}"
        self._read()

    @work(group="read", exit_on_error=False)
    async def _read(self) -> None:
        try:
            results = await asyncio.to_thread(read_slices, self._folder)
        except TlegError as error:
            self.post_message(self.Read(None, explained(error)))
        else:
            self.post_message(self.Read(results, None if results else f"no family was made in {self._folder}"))

    def on_family_report_screen_read(self, message: Read) -> None:
        """Show them."""
        status = self.query_one("#status", Static)
        status.set_class(message.problem is not None, "-wrong")
        if message.results is None:
            status.update(said(message.problem or ""))
            return
        self._rows = tuple(report_rows(message.results, self._folder))
        data = printable(message.results.data)
        status.update(
            f"top-1 in percent on {data}; with plots: {printable(str(self._report.absolute()))}; y copies the path"
        )
        self._show()
        self.query_one("#rows", OptionList).focus()

    def on_resize(self, event: object) -> None:
        """Lines of another width."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        rows = self.query_one("#rows", OptionList)
        width = rows.scrollable_content_region.width
        if not width or not self._rows:
            return
        widths = _widths(self._rows, width)
        self.query_one("#titles", Static).update(_line(_TITLES, widths))
        place = rows.highlighted or 0
        with self.prevent(OptionList.OptionHighlighted):
            rows.clear_options()
            rows.add_options([Option(_content(row, widths)) for row in self._rows])
            rows.highlighted = place
        self._show_chosen()

    def _show_chosen(self) -> None:
        place = self.query_one("#rows", OptionList).highlighted
        self.query_one("#chosen", Static).update(self._rows[place].about if place is not None and self._rows else "")

    def on_option_list_option_highlighted(self) -> None:
        """Another device is chosen."""
        self._show_chosen()

    def action_copy_report(self) -> None:
        """Copy the report's path."""
        path = str(self._report.absolute())
        self.app.copy_to_clipboard(path)
        self.host.tell(f"copied {path}")


def report_rows(results: FamilyResults, folder: Path) -> Iterator[ReportRow]:
    """Return a line for each device of a family in a folder: those that have a file, then those that failed."""
    for each in results.devices:
        top1 = _NONE if each.top1 is None else f"{each.top1:.2f}"
        dtype = "" if each.dtype == "float32" else f" {each.dtype}"
        state = f"✗ {each.wanted:g} % wanted" if each.missed else "✓ done"
        yield ReportRow(
            (
                each.name,
                f"{each.export}{dtype}",
                each.depth,
                format_bytes(each.bytes),
                top1,
                format_latency(each.latency),
                state,
            ),
            printable(_about(each, folder)),
            "$warning" if each.missed else "$success",
        )
    for name, reason in results.failed.items():
        cells = (name, *(_NONE for _ in _TITLES[1:-1]), "✗ failed")
        yield ReportRow(cells, said(f"{name} failed: {reason}"), "$error")


def _about(device: DeviceSlice, folder: Path) -> str:
    """What the table has no room for."""
    words = [device.about] if device.about else []
    words += [] if device.zero_shot is None else [f"{device.zero_shot:.2f} % as expanded"]
    words += [f"{device.epochs} epochs of fine-tuning, run {device.run}"] if device.epochs else []
    words += [] if device.expected is None else [f"{format_latency(device.expected)} expected on {device.on}"]
    return f"{folder / device.path}: {'; '.join([*words, f'{device.images:,} images'])}"


def _widths(rows: Sequence[ReportRow], width: int) -> tuple[int, ...]:
    """Cells of each column; the last one has what is left."""
    longest = [max(map(cell_len, column)) for column in zip(_TITLES, *(row.cells for row in rows), strict=True)]
    cells = [min(longest[0], _MOST[0]), min(longest[1], _MOST[1]), *longest[2:-1]]
    return (*cells, max(width - sum(cells) - 2 * len(cells), 8))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = enumerate(zip(map(printable, cells), widths, strict=True))
    return "  ".join(fit(cell.rjust(width) if place in _RIGHT else cell, width) for place, (cell, width) in pairs)


def _content(row: ReportRow, widths: Sequence[int]) -> Content:
    return Content.assemble(
        (_line(row.cells[:1], widths[:1]), "bold"),
        "  ",
        _line(["", *row.cells[1:-1]], [0, *widths[1:-1]]).removeprefix("  "),
        "  ",
        (fit(row.cells[-1], widths[-1]), row.colour),
    )
