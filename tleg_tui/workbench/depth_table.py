"""Every depth of a learngene: what it costs, what is known of its accuracy, whether it fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tleg.learngene.preview import Preview, PreviewRow
from tleg.learngene.profile import format_depth
from tleg.text import format_bytes, format_count, format_image_size, format_latency
from tleg.tuned import Place, Tuned
from tleg_tui.actions import bindings
from tleg_tui.common.cells import bar_text, with_cursor
from tleg_tui.workbench.rows import place_of

_LATENCY: Final = "Latency"  # Shown where a device was measured; then all the others need as much more room.
# Title, width, from which width of the table on it is shown.
_COLUMNS: Final[tuple[tuple[str, int, int], ...]] = (
    ("Params", 9, 0),
    ("GMACs", 8, 30),
    ("Size", 9, 48),
    ("Memory", 9, 66),
    (_LATENCY, 10, 0),
    ("Top-1", 6, 0),
    ("Tuned", 6, 74),
)
_BESIDE: Final = 9  # ' ▸ ', ' aux ' and a pin around what a line is called.
_SHORTEST: Final = 2
_LEAST_BAR: Final = 4


@dataclass(frozen=True, slots=True)
class DepthLine:
    """One line: figures as they are written, and what is to be said about them."""

    name: str
    place: Place
    cells: tuple[str, ...]
    timed: bool
    fits: bool
    auxiliary: bool
    best: bool
    share: float


def depth_lines(preview: Preview, tuned: Mapping[Place, Tuned]) -> tuple[DepthLine, ...]:
    """Return the lines of a preview. Their accuracies are all of the same images.

    Where features were learned, and no accuracy was measured, the cosine with the teacher's stands in its place: '0.912'.
    """
    names = _names(preview)
    greatest = max(row.cost.macs for row in preview.rows) or 1
    decimals = preview.gmacs_decimals
    best = max((row.top1 for row in preview.rows if row.top1 is not None), default=None)
    return tuple(
        DepthLine(
            name=name,
            place=place_of(row),
            cells=(
                format_count(row.cost.parameters),
                f"{row.cost.macs / 1e9:.{decimals}f}",
                format_bytes(row.cost.size),
                format_bytes(row.cost.inference_memory),
                "–" if row.latency is None else format_latency(row.latency),
                _percent(row.top1) if row.top1 is not None or row.cosine is None else f"{row.cosine:.3f}",
                _percent(tuned[place_of(row)].top1 if place_of(row) in tuned else None),
            ),
            timed=row.latency is not None,
            fits=row.fits,
            auxiliary=row.auxiliary,
            best=best is not None and row.top1 == best,
            share=row.cost.macs / greatest,
        )
        for name, row in zip(names, preview.rows, strict=True)
    )


def _names(preview: Preview) -> list[str]:
    """What the lines are called: their depths, below each other, after the sizes of the inputs where there are several."""

    def column(text: Callable[[PreviewRow], str]) -> list[str]:
        texts = list(map(text, preview.rows))
        return [f"{each:>{max(map(len, texts))}}" for each in texts]

    # Among profiles a number would not say what stands beside it.
    depths = column(lambda row: format_depth(row.profile if preview.profiled else row.depth))
    if not preview.sized:
        return depths
    sizes = column(lambda row: format_image_size(row.image_size))
    return [f"{size} {depth}" for size, depth in zip(sizes, depths, strict=True)]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


class DepthChosen(Message):
    """A line was chosen; the first is 1."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class DepthHeader(Widget):
    """The titles over the table's columns."""

    DEFAULT_CSS = "DepthHeader { height: 1; color: $text-muted; text-style: bold; }"
    named: reactive[int] = reactive(_SHORTEST)  # Cells of what the lines are called.
    timed: reactive[bool] = reactive(False)
    title: reactive[str] = reactive("Depth")

    def render(self) -> str:
        """The titles, in the columns of the table below."""
        shown = _shown(self.size.width, self.named, self.timed)
        titles = "".join(f"{title:>{width + 1}}" for title, width, _ in shown)
        return f"   {self.title:<{self.named + _BESIDE - 3}}{titles}  cost"


class DepthTable(ScrollView, can_focus=True):
    """The table. Moving the cursor chooses a line and repaints two."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("depths")]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "depth-table--cursor",
        "depth-table--muted",
        "depth-table--bar",
        "depth-table--over",
        "depth-table--mark",
        "depth-table--plain",
    }
    DEFAULT_CSS = """
    DepthTable { height: 1fr; scrollbar-size-vertical: 1; }
    DepthTable .depth-table--plain { color: $foreground; }
    DepthTable .depth-table--muted { color: $text-muted; }
    DepthTable .depth-table--over { color: $text-disabled; }
    DepthTable .depth-table--bar { color: $primary; }
    DepthTable .depth-table--mark { color: $accent; text-style: bold; }
    DepthTable .depth-table--cursor { background: $block-cursor-blurred-background; text-style: bold; }
    DepthTable:focus .depth-table--cursor { background: $primary 30%; text-style: bold; }
    DepthTable:ansi:focus .depth-table--cursor { background: ansi_default; text-style: bold reverse; }
    DepthTable:ansi .depth-table--over { text-style: dim; }
    """

    line: reactive[int] = reactive(0, repaint=False)  # The first is 1; 0: none yet.

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._lines: tuple[DepthLine, ...] = ()
        self._pins: tuple[Place, ...] = ()
        self._choice: Place | None = None

    @property
    def named(self) -> int:
        """The cells that what lines are called takes."""
        return max([_SHORTEST, *(len(line.name) for line in self._lines)])

    @property
    def timed(self) -> bool:
        """Whether the latency of any line is known."""
        return any(line.timed for line in self._lines)

    def show(self, lines: Sequence[DepthLine], pins: tuple[Place, ...], choice: Place | None) -> None:
        """Show other lines; `choice` is what the budget picks, where there is one. The cursor stays where it was."""
        if (tuple(lines), pins, choice) == (self._lines, self._pins, self._choice):
            return
        changed = len(lines) != len(self._lines)
        before = self._lines[self.line - 1].place if 1 <= self.line <= len(self._lines) else None
        self._lines, self._pins, self._choice = tuple(lines), pins, choice
        if self.line and lines:
            self.line = self._line_of(before) or min(self.line, len(lines))
        if changed:
            self.virtual_size = Size(0, len(lines))
            self.styles.max_height = max(len(lines), 1)  # What is said about the budget stands right below.
        self.refresh()

    def _line_of(self, place: Place | None) -> int | None:
        return next((number for number, line in enumerate(self._lines, start=1) if line.place == place), None)

    def watch_line(self, old: int, new: int) -> None:
        """Repaint the line that was chosen and the one that is, and keep it in sight."""
        for line in (old, new):
            if 1 <= line <= len(self._lines):
                self.refresh_line(line - 1)
        self.scroll_to_region(Region(0, new - 1, 1, 1), animate=False)
        if new:
            self.post_message(DepthChosen(new))

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        if self.line:
            self.scroll_to_region(Region(0, self.line - 1, 1, 1), animate=False)

    def action_move(self, count: int) -> None:
        """Move the cursor."""
        if self._lines:
            self.line = min(max(self.line + count, 1), len(self._lines))

    def action_edge(self, direction: int) -> None:
        """Move to the first or the last depth."""
        self.action_move(direction * len(self._lines))

    def action_auxiliary(self) -> None:
        """Move to the auxiliary model's depth."""
        self.line = next((number for number, line in enumerate(self._lines, start=1) if line.auxiliary), self.line)

    def action_deepest(self) -> None:
        """Move to the deepest depth that fits, or of several sizes to the best."""
        self.line = self._line_of(self._choice) or self.line

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The deepest that fits is known with a budget alone."""
        return self._choice is not None if action == "deepest" else True

    def why_not(self, action: str) -> str:
        """What is missing."""
        return (
            "d goes to the deepest depth that fits the budget: / sets one, and none fits yet" if action == "deepest" else ""
        )

    def on_click(self, event: events.Click) -> None:
        """Choose the depth under the mouse."""
        line = event.y + round(self.scroll_offset.y)
        if line < len(self._lines):
            self.line = line + 1

    def render_line(self, y: int) -> Strip:
        """One line of what is in sight."""
        place = y + round(self.scroll_offset.y)
        width = self.scrollable_content_region.width
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[place]
        chosen = place + 1 == self.line
        plain, muted, over, bar, mark = (
            self.get_component_rich_style(f"depth-table--{name}") for name in ("plain", "muted", "over", "bar", "mark")
        )
        # The line under the cursor is the one that is read: that it is over the budget is said by its last word.
        text = plain if line.fits or chosen else over
        pointer = Segment(" ▸ " if chosen else "   ", mark)
        note = "aux" if line.auxiliary else ""
        pin = "●" if line.place in self._pins else " "
        named = self.named
        segments = [
            pointer,
            Segment(f"{line.name:>{named}} ", text),
            Segment(f"{note:<3} ", muted if line.fits else text),
            Segment(pin, mark),
        ]
        used = named + _BESIDE
        shown = _shown(width, named, self.timed)
        for column_shown, cell in zip(_COLUMNS, line.cells, strict=True):
            if column_shown not in shown:
                continue
            title, column, _ = column_shown
            style = mark if title == "Top-1" and line.best and line.fits else text
            segments.append(Segment(f"{cell:>{column + 1}}", style))
            used += column + 1
        room = width - used - 3
        if room >= _LEAST_BAR:
            if line.fits:
                segments.append(Segment(f"  {bar_text(line.share, room):<{room}} ", bar))
            else:
                segments.append(Segment(f"  {'over'[:room]:<{room}} ", text))
        strip = Strip(segments).adjust_cell_length(width, self.rich_style)
        return with_cursor(strip, self.get_component_rich_style("depth-table--cursor")) if chosen else strip


def _shown(width: int, named: int, timed: bool) -> list[tuple[str, int, int]]:
    """The columns for which there is room beside what lines are called."""
    room = width - (named - _SHORTEST)
    if not timed:
        return [column for column in _COLUMNS if column[0] != _LATENCY and room >= column[2]]
    taken = next(cells + 1 for title, cells, _ in _COLUMNS if title == _LATENCY)
    return [column for column in _COLUMNS if column[2] == 0 or room - taken >= column[2]]
