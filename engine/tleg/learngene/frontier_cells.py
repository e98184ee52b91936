"""The frontier in the cells of a terminal: each a character and what it is for, whoever gives it a colour."""

from itertools import groupby, pairwise
from typing import Final, Literal, NamedTuple

from tleg.axes import Axis, enough_ticks
from tleg.learngene.frontier import Frontier, FrontierPoint

# What a cell is for; '' is empty.
Role = Literal["", "text", "axis", "line", "limit", "expanded", "trained", "tuned", "chosen", "over"]
LEAST_WIDTH: Final = 28
LEAST_HEIGHT: Final = 6
_CHOSEN, _BELOW, _LIMIT, _LINE, _POINTER = "◆", "▾", "┆", "·", "▴"
_GLYPHS: Final = {"trained": "●", "expanded": "○"}
_TUNED: Final = "▲■▼"
# At least so many columns from a round value to the next, and rows.
_ACROSS, _UP = 10, 2
_MOST_UP: Final = 6


class Cell(NamedTuple):
    """A character, and what it is for."""

    text: str
    role: Role


_BLANK: Final = Cell(" ", "")


def legend(frontier: Frontier, limit: str = "") -> list[tuple[Cell, str]]:
    """Return what stands on the picture, and what it means.

    limit  what the limit is called, as '--max-params 1M'
    """
    kinds = {point.kind for point in frontier.points}
    known: list[tuple[bool, Cell, str]] = [
        ("trained" in kinds, Cell(_GLYPHS["trained"], "trained"), "trained depth"),
        ("expanded" in kinds, Cell(_GLYPHS["expanded"], "expanded"), "other depth"),
        *((True, Cell(_tuned(frontier, data), "tuned"), f"fine-tuned on {data}") for data in frontier.data_sets),
        (any(point.chosen for point in frontier.points), Cell(_CHOSEN, "chosen"), "chosen"),
        (bool(frontier.below), Cell(_BELOW, "text"), "lower"),
        (frontier.shown_limit is not None, Cell(_LIMIT, "limit"), limit or "limit"),
    ]
    return [(cell, text) for shown, cell, text in known if shown]


def plot_cells(frontier: Frontier, width: int, height: int) -> list[list[Cell]]:
    """Return the picture: `height` lines of `width` cells, axes and their labels among them.

    The frontier must have a point, and the picture LEAST_WIDTH columns and LEAST_HEIGHT lines.
    """
    rows = height - 2
    low, high = frontier.accuracies
    ticks = {tick: f"{tick:g}" for tick in enough_ticks(low, high, min(rows // _UP, _MOST_UP))}
    gutter = max(map(len, ticks.values())) + 2
    canvas = _Canvas(width - gutter, rows, frontier)
    canvas.draw()
    beside = {canvas.row(tick): text for tick, text in ticks.items()}
    lines = []
    for row, cells in enumerate(canvas.cells):
        text = beside.get(row)
        side = [*_cells(f"{text or '':>{gutter - 1}}", "text"), Cell("│" if text is None else "┤", "axis")]
        lines.append(side + cells)
    return [*lines, *_horizontal(frontier, canvas, gutter)]


def runs(line: list[Cell]) -> list[tuple[str, Role]]:
    """Join neighbours that are for the same: what a terminal writes in one colour."""
    return [("".join(cell.text for cell in group), role) for role, group in groupby(line, key=lambda cell: cell.role)]


def _horizontal(frontier: Frontier, canvas: "_Canvas", gutter: int) -> list[list[Cell]]:
    axis = [Cell("─", "axis")] * canvas.width
    labels = [_BLANK] * canvas.width
    free = 0
    for value, text in frontier.ticks(canvas.width // _ACROSS):
        column = canvas.column(value)
        axis[column] = Cell("┬", "axis")
        start = min(max(column - len(text) // 2, 0), canvas.width - len(text))
        if start >= free:
            labels[start : start + len(text)] = _cells(text, "text")
            free = start + len(text) + 2
    if frontier.chosen is not None and frontier.costs[0] <= frontier.chosen <= frontier.costs[1]:
        axis[canvas.column(frontier.chosen)] = Cell(_POINTER, "chosen")
    before = _cells(" " * (gutter - 1), "")
    return [[*before, Cell("└", "axis"), *axis], [*before, _BLANK, *labels]]


def _cells(text: str, role: Role) -> list[Cell]:
    return [Cell(letter, role) for letter in text]


def _tuned(frontier: Frontier, data: str) -> str:
    return _TUNED[frontier.data_sets.index(data) % len(_TUNED)]


class _Canvas:
    """The field between the axes."""

    def __init__(self, width: int, rows: int, frontier: Frontier) -> None:
        self.width = width
        self.rows = rows
        self.cells = [[_BLANK] * width for _ in range(rows)]
        self._frontier = frontier
        self._across = Axis(*frontier.costs, 0, width - 1)
        self._up = Axis(*frontier.accuracies, rows - 1, 1)  # The first row is for names of what is highest.

    def column(self, cost: float) -> int:
        """The column of a cost."""
        return round(self._across.place(cost))

    def row(self, top1: float) -> int:
        """The row of an accuracy; what lies below is on the last one."""
        return min(round(self._up.place(top1)), self.rows - 1)

    def draw(self) -> None:
        """Draw what is less important first, and write names where there is room."""
        frontier = self._frontier
        self._join()
        if frontier.shown_limit is not None:
            for row in self.cells:
                row[self.column(frontier.shown_limit)] = Cell(_LIMIT, "limit")
        ordered = sorted(frontier.points, key=_weight)
        for point in ordered:
            self.cells[self.row(point.top1)][self.column(point.cost)] = self._mark(point)
        for point in reversed(ordered):
            self._name(point)

    def _mark(self, point: FrontierPoint) -> Cell:
        if point.kind == "tuned":
            glyph = _tuned(self._frontier, point.data)
        elif point.top1 < self._frontier.floor:
            glyph = _BELOW
        else:
            glyph = _CHOSEN if point.chosen else _GLYPHS[point.kind]
        return Cell(glyph, "chosen" if point.chosen else point.kind if point.fits else "over")

    def _join(self) -> None:
        """Dots from point to point of the same size and data set."""
        for _, group in groupby(self._frontier.points, key=lambda point: (point.image_size, point.data)):
            for left, right in pairwise(group):
                first, last = self.column(left.cost), self.column(right.cost)
                start, end = self.row(left.top1), self.row(right.top1)
                steps = max(last - first, abs(end - start))
                for step in range(1, steps):
                    row = round(start + (end - start) * step / steps)
                    self.cells[row][round(first + (last - first) * step / steps)] = Cell(_LINE, "line")

    def _name(self, point: FrontierPoint) -> None:
        """Write a name above its mark, else below, where that hides no other mark or name."""
        text = point.name
        start = min(max(self.column(point.cost) - (len(text) - 1) // 2, 0), self.width - len(text))
        mark = self.row(point.top1)
        for row in (mark - 1, mark + 1):
            # A blank on either side keeps names apart.
            around = range(max(start - 1, 0), min(start + len(text) + 1, self.width))
            if 0 <= row < self.rows and start >= 0 and all(self._free(row, column) for column in around):
                role: Role = "chosen" if point.chosen else "text" if point.fits else "over"
                self.cells[row][start : start + len(text)] = _cells(text, role)
                return

    def _free(self, row: int, column: int) -> bool:
        return self.cells[row][column].role in ("", "line", "limit")


def _weight(point: FrontierPoint) -> tuple[bool, bool, int]:
    return point.chosen, point.fits, ("expanded", "trained", "tuned").index(point.kind)
