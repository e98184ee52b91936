"""A curve that grows: dots over a horizontal axis that stands still, with bounds that change only when they are exceeded."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Final, Literal, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip

from tleg_tui.common.lines import Spans, to_strip
from tleg_tui.run.numbers import axis_label, axis_labels, grouped
from tleg_tui.run.plotting import Bounds, Column, Points, decimate, dots, extremes, keep_bounds, place_of

Drawing = Literal["braille", "block", "ascii"]
# Dots of a cell: across, down.
_DOTS: Final[dict[Drawing, tuple[int, int]]] = {"braille": (2, 4), "block": (1, 2), "ascii": (1, 1)}
_LEFT: Final = [sum(bit for place, bit in enumerate((0x01, 0x02, 0x04, 0x40)) if mask >> place & 1) for mask in range(16)]
_RIGHT: Final = [sum(bit for place, bit in enumerate((0x08, 0x10, 0x20, 0x80)) if mask >> place & 1) for mask in range(16)]
_BLOCKS: Final = " ▀▄█"
_MARKS: Final[dict[Drawing, tuple[str, str]]] = {"braille": ("○", "◆"), "block": ("o", "♦"), "ascii": ("o", "@")}
_GUTTER: Final = 7  # Six characters and the axis.
_LEAST_BETWEEN: Final = 3  # Columns from one mark to the next, in the mean.
_LEAST_WIDTH, _LEAST_HEIGHT = _GUTTER + 6, 4


class Mark(NamedTuple):
    """A place on a curve that is marked; the best one in its own way."""

    x: float
    y: float
    best: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One curve. `other` is that of another run, drawn in another way; a faded one stands behind what is newer."""

    points: Points
    other: bool = False
    marks: tuple[Mark, ...] = ()
    faded: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """What a curve widget shows.

    title, value, note  over the curve: its name, the latest value, what else is to be said
    first, last         ends of the horizontal axis, and `unit`, what it counts
    log                 logarithmic; what is not greater than zero then lies at the bottom
    from_zero, ceiling  where the vertical axis begins, and where the quantity itself ends
    view                changes when the axis may jump, as with another zoom
    empty               what is said without a point
    """

    title: str
    value: str = ""
    note: str = ""
    lines: tuple[Line, ...] = ()
    first: float = 0.0
    last: float = 1.0
    unit: str = "steps"
    log: bool = False
    from_zero: bool = False
    ceiling: float | None = None
    view: str = ""
    empty: str = "nothing yet"


class Curve(Spans):
    """A curve with its axes. `show` paints the cells that changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "curve--own",
        "curve--other",
        "curve--faded",
        "curve--mark",
        "curve--best",
        "curve--axis",
        "curve--label",
    }
    DEFAULT_CSS = """
    Curve { height: 1fr; width: 1fr; }
    Curve .curve--own { color: $primary; }
    Curve .curve--other { color: $warning; }
    Curve .curve--faded { color: $text-disabled; }
    Curve .curve--mark { color: $foreground; }
    Curve .curve--best { color: $accent; text-style: bold; }
    Curve .curve--axis { color: $text-disabled; }
    Curve .curve--label { color: $text-muted; }
    """

    def __init__(self, drawing: Drawing = "braille", *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self.drawing: Drawing = drawing
        self.plot = Plot("")
        self.bounds: Bounds | None = None
        self._bounds_of: tuple[str, str, bool, int] | None = None

    def show(self, plot: Plot) -> None:
        """Show a curve."""
        if plot != self.plot:
            self.plot = plot
            self.paint()

    def make_lines(self, width: int, height: int) -> list[Strip]:
        """The title, the curve beside its values, the horizontal axis."""
        plot = self.plot
        lines = [self._title(width)]
        if width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
            return lines[:height] + [Strip.blank(width, self.rich_style)] * (height - len(lines))
        across, down = _DOTS[self.drawing]
        columns, rows = width - _GUTTER, height - 2
        count = columns * across
        found = [decimate(line.points, plot.first, plot.last, count) for line in plot.lines]
        log = plot.log and extremes((column for each in found for column in each.values()), log=True) is not None
        bounds = self._find_bounds(found, log, rows)
        if bounds is None:
            return [*lines, *self._nothing(width, height - 1)]
        cells = [[(" ", "")] * columns for _ in range(rows)]
        for line, each in sorted(zip(plot.lines, found, strict=True), key=lambda pair: _order(pair[0])):
            masks = dots(each, count, rows * down, bounds)
            if line.other and across == 2:
                masks = [mask if place % 2 == 0 else 0 for place, mask in enumerate(masks)]
            self._draw(cells, masks, line)
        for line in sorted(plot.lines, key=_order):
            self._mark(cells, line, bounds)
        axis, label = self._style("axis"), self._style("label")
        texts = self._labels(bounds, rows)
        for y, row in enumerate(cells):
            text = texts.get(y)
            segments = [Segment(f"{text or '':>{_GUTTER - 1}}", label), Segment("┤" if text is not None else "│", axis)]
            segments += self._segments(row)
            lines.append(Strip(segments, width))
        lines.append(self._horizontal(width, columns))
        return lines

    # Parts.

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"curve--{name}") if name else self.rich_style

    def _title(self, width: int) -> Strip:
        plot = self.plot
        left = Content.assemble((plot.title, "bold"), ("  " if plot.value else "", ""), (plot.value, "bold $primary"))
        gap = width - 1 - left.cell_length - len(plot.note)
        note = f"{' ' * gap}{plot.note}" if plot.note and gap >= 2 else ""
        return to_strip(self, Content.assemble(left, (note, "$foreground-muted")), width)

    def _nothing(self, width: int, height: int) -> list[Strip]:
        """What is said while there is no point."""
        lines = [Strip.blank(width, self.rich_style)] * height
        text = Content.styled(self.plot.empty.center(max(width - 2, 0)), "$foreground-muted")
        lines[(height - 1) // 2] = to_strip(self, text, width)
        return lines

    def _find_bounds(self, found: list[dict[int, Column]], log: bool, rows: int) -> Bounds | None:
        plot = self.plot
        key = plot.title, plot.view, log, rows
        known = self.bounds if key == self._bounds_of else None
        values = extremes((column for each in found for column in each.values()), log=log)
        down = _DOTS[self.drawing][1]
        self.bounds = keep_bounds(
            known, values, log=log, from_zero=plot.from_zero, ceiling=plot.ceiling, rows=rows, down=down
        )
        self._bounds_of = key
        return None if values is None else self.bounds

    def _labels(self, bounds: Bounds, rows: int) -> dict[int, str]:
        """The text beside each row that has one."""
        ticks = bounds.ticks(rows, _DOTS[self.drawing][1])
        exact = None if bounds.log else axis_labels(tuple(ticks.values()), bounds.step)
        return dict(zip(ticks, exact or [axis_label(value, bounds.step) for value in ticks.values()], strict=True))

    def _draw(self, cells: list[list[tuple[str, str]]], masks: list[int], line: Line) -> None:
        """Put the letters of one curve where it has dots."""
        style = "other" if line.other else "faded" if line.faded else "own"
        across, down = _DOTS[self.drawing]
        full = (1 << down) - 1
        for x in range(len(cells[0])):
            left = masks[across * x]
            right = masks[across * x + 1] if across == 2 else 0
            both = left | right
            if not both:
                continue
            for y in range(((both & -both).bit_length() - 1) // down, (both.bit_length() - 1) // down + 1):
                bits = left >> down * y & full, right >> down * y & full
                if bits != (0, 0):
                    cells[y][x] = self._letter(*bits, other=line.other), style

    def _letter(self, left: int, right: int, *, other: bool) -> str:
        if self.drawing == "braille":
            return chr(0x2800 + (_LEFT[left] | _RIGHT[right]))
        if self.drawing == "block":
            return "▒" if other else _BLOCKS[left]
        return "+" if other else "*"

    def _mark(self, cells: list[list[tuple[str, str]]], line: Line, bounds: Bounds) -> None:
        """Put marks into the cells in which the curve has its dots; of many the best alone, which would hide the curve."""
        plot, rows, columns = self.plot, len(cells), len(cells[0])
        across, down = _DOTS[self.drawing]
        places = [
            (place_of(mark.x, plot.first, plot.last, columns * across) // across, mark)
            for mark in sorted(line.marks, key=lambda mark: mark.best)
            if plot.first <= mark.x <= plot.last
        ]
        spread = max((x for x, _ in places), default=0) - min((x for x, _ in places), default=0)
        dense = len(places) > 2 and spread < _LEAST_BETWEEN * (len(places) - 1)
        for x, mark in places:
            if dense and not mark.best:
                continue
            style = "other" if line.other else "best" if mark.best else "mark"
            cells[bounds.row(mark.y, rows * down) // down][x] = _MARKS[self.drawing][mark.best], style

    def _segments(self, row: list[tuple[str, str]]) -> Iterator[Segment]:
        for style, group in groupby(row, key=lambda cell: cell[1]):
            yield Segment("".join(letter for letter, _ in group), self._style(style))

    def _horizontal(self, width: int, columns: int) -> Strip:
        """Labels of the horizontal axis: its ends, and the middle where there is room; whole steps, each at its place."""
        plot = self.plot
        left, right = grouped(plot.first), grouped(plot.last)
        line = [" "] * columns
        line[: len(left)] = left
        end = f"{right} {plot.unit}"
        if len(left) + len(end) + 2 > columns:
            end = right
        line[columns - len(end) :] = end
        half = round((plot.first + plot.last) / 2)
        middle = grouped(half)
        place = place_of(half, plot.first, plot.last, columns) - len(middle) // 2
        if len(left) + 2 < place and place + len(middle) + 2 < columns - len(end):
            line[place : place + len(middle)] = middle
        return Strip([Segment(" " * _GUTTER + "".join(line), self._style("label"))], width)


def _order(line: Line) -> tuple[bool, bool]:
    """What is drawn later covers what is there."""
    return not line.faded, not line.other
