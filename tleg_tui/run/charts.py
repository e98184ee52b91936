"""The curves of a run: which quantities there are, how a snapshot becomes a plot, and as many plots as there is room for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from textual.app import ComposeResult
from textual.containers import Grid

from tleg.runs.history import RunSnapshot
from tleg.runs.scalars import SCALARS, Form, Scalar
from tleg.runs.text import format_reached, mean_of
from tleg_tui.run import numbers
from tleg_tui.run.curve import Curve, Drawing, Line, Mark, Plot
from tleg_tui.run.depth_curves import plot_depths
from tleg_tui.run.plotting import Point, smoothed, window

ZOOMS: Final = ("all", "quarter", "200")
ZOOM_NAMES: Final = {"all": "", "quarter": "last quarter", "200": "last 200"}
# Steps over which smoothing reaches, as a share of all: not at all, a little, much.
_REACHES: Final = (0.0, 0.01, 0.04)
SMOOTHINGS: Final = len(_REACHES)


@dataclass(frozen=True, slots=True)
class View:
    """How curves are looked at: logarithmic loss, how much smoothing, which part."""

    log: bool = False
    smoothing: int = 0
    zoom: str = "all"

    def next_zoom(self) -> "View":
        """The next part."""
        return replace(self, zoom=ZOOMS[(ZOOMS.index(self.zoom) + 1) % len(ZOOMS)])

    def next_smoothing(self) -> "View":
        """More smoothing, or none after the most."""
        return replace(self, smoothing=(self.smoothing + 1) % SMOOTHINGS)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that is drawn.

    name       over its curve
    write      how a value is written, in `width` columns where those of neighbours stand below each other
    field      the name of a step scalar; '' for accuracy, which evaluations tell
    brief      its name beside figures, '' for what is shown as a curve alone
    times      what a value is multiplied with to be shown: 100 for a share in percent
    smooth     whether smoothing applies
    from_zero  whether its axis begins at zero
    log        whether its axis may be logarithmic
    empty      what is said without a value
    """

    name: str
    write: Callable[[float], str]
    field: str = ""
    brief: str = ""
    width: int = 0
    times: float = 1.0
    smooth: bool = True
    from_zero: bool = True
    log: bool = False
    empty: str = "no step yet"


# How a kind of number is written, and the columns that it takes.
FORMS: Final[Mapping[Form, tuple[Callable[[float], str], int]]] = {
    "number": (numbers.short, 7),
    "rate": (numbers.rate, 8),
    "count": (numbers.grouped, 6),
    "share": (lambda value: f"{value:.0f} %", 5),
}


def quantities_of(scalars: Mapping[str, Scalar]) -> tuple[Quantity, ...]:
    """Return the quantities of the step scalars that have a curve, those that people look at most often first."""
    drawn = {name: each for name, each in scalars.items() if each.fold is not None}
    first = [name for name in ("loss", "learning_rate", "images_per_second", "gradient_norm") if name in drawn]
    return tuple(_quantity(name, drawn[name]) for name in dict.fromkeys((*first, *drawn)))


def _quantity(name: str, scalar: Scalar) -> Quantity:
    write, width = FORMS[scalar.form]
    return Quantity(
        scalar.label,
        write,
        name,
        scalar.brief,
        width,
        times=scalar.shown(1.0),
        smooth=scalar.fold == "mean",
        from_zero=scalar.axis == "zero",
        log=scalar.axis == "free",
    )


ACCURACY: Final = Quantity("accuracy", lambda value: f"{value:.1f} %", from_zero=False, empty="no evaluation yet")
# Of a run that learns a learngene.
DEPTHS: Final = replace(ACCURACY, name="accuracy by depth")
LOSS, *_OTHERS = quantities_of(SCALARS)
QUANTITIES: Final = (LOSS, ACCURACY, *_OTHERS)
_EVERY: Final = (LOSS, ACCURACY, DEPTHS, *_OTHERS)


def make_plot(quantity: Quantity, snapshot: RunSnapshot, other: RunSnapshot | None, view: View) -> Plot:
    """Return the plot of a quantity, with the curve of another run where there is one."""
    empty = quantity.empty if snapshot.finish is None else quantity.empty.removesuffix(" yet")
    if quantity is DEPTHS:
        return plot_depths(quantity.name, snapshot, other, empty)
    planned = max(planned_steps(snapshot), 0 if other is None else planned_steps(other))
    done = snapshot.curve.points[-1].last if snapshot.curve.points else 0
    first, last = window(view.zoom, done, planned)
    smoothing = view.smoothing if quantity.smooth and quantity.field else 0
    reach = _REACHES[smoothing] * planned
    shown = [make_lines(quantity, snapshot, reach)]
    if other is not None:
        shown.append([replace(line, other=True) for line in make_lines(quantity, other, reach)])
    log = view.log and quantity.log
    cosine = quantity is ACCURACY and any(each.cosine is not None for each in snapshot.evaluations)
    notes = ("log" if log else "", "", "smoothed", "smoothed more")
    note = " · ".join(filter(None, (notes[0], notes[smoothing + 1], ZOOM_NAMES[view.zoom])))
    return Plot(
        title="cosine" if cosine else quantity.name,
        value=_latest(quantity, snapshot),
        note=note or _best(quantity, snapshot),
        lines=tuple(line for lines in shown for line in lines),
        first=first,
        last=last,
        log=log,
        from_zero=quantity.from_zero,
        ceiling=(1.0 if cosine else 100.0) if quantity is ACCURACY else None,
        view=f"{view.zoom} {first:g} {smoothing} {other is None}",
        empty=empty,
    )


def planned_steps(snapshot: RunSnapshot) -> int:
    """All steps of a run, as far as it told; at least one."""
    for report in (snapshot.step, snapshot.start):
        if report is not None and report.steps:
            return report.steps
    return max(1, snapshot.curve.points[-1].last if snapshot.curve.points else 0)


def make_lines(quantity: Quantity, snapshot: RunSnapshot, reach: float = 0.0) -> list[Line]:
    """Return the curves of a quantity: one, or for accuracy one for each kind of weights that was evaluated."""
    if not quantity.field:
        return _accuracy_lines(snapshot)
    points: list[Point | None] = []
    for each in snapshot.curve.points:
        spread = each.values.get(quantity.field)
        if spread is not None:
            values = (quantity.times * value for value in (spread.low, spread.mean, spread.high))
            points.append(Point((each.first + each.last) / 2, *values))
        elif points and points[-1] is not None:
            points.append(None)
    return [Line(smoothed(points, reach) if reach else tuple(points))]


def _accuracy_lines(snapshot: RunSnapshot) -> list[Line]:
    lines = []
    for weights in dict.fromkeys(each.weights for each in snapshot.evaluations):
        reports = [(each, each.monitored) for each in snapshot.evaluations if each.weights == weights]
        known = [(each, figure) for each, figure in reports if figure is not None]
        marks = tuple(Mark(each.step, figure, each == snapshot.best) for each, figure in known)
        lines.append(Line(tuple(Point(each.step, figure, figure, figure) for each, figure in known), marks=marks))
    return lines


def _latest(quantity: Quantity, snapshot: RunSnapshot) -> str:
    if quantity is ACCURACY:
        return format_reached(snapshot.evaluations[-1], decimals=1) if snapshot.evaluations else ""
    if not snapshot.curve.points or not quantity.field:
        return ""
    # The last report itself, which the curve may have joined with others.
    step = snapshot.step
    value = None if step is None else getattr(step, quantity.field)
    return quantity.write(quantity.times * value) if isinstance(value, float) else "–"


def _best(quantity: Quantity, snapshot: RunSnapshot) -> str:
    best = snapshot.best
    if quantity is not ACCURACY or best is None or best.monitored is None:
        return ""
    return f"best {format_reached(best, decimals=1)}{mean_of(best)}"


Page = tuple[Quantity, ...]


def pages_of(quantities: Page, curves: int) -> list[Page]:
    """Return pages of so many curves. The loss fills what is left beside an odd number."""
    pages = [quantities[first : first + curves] for first in range(0, len(quantities), curves)]
    return [(*page, LOSS) if len(page) % 2 else page for page in pages]


_TALL, _WIDE, _HUGE = 18, 110, 150


class RunCharts(Grid):
    """Two curves on a small terminal, four on a tall one, all on a large one. `turn` shows the next ones."""

    DEFAULT_CSS = """
    RunCharts { height: 1fr; padding: 0 1; grid-gutter: 0 2; }
    """

    def __init__(self, drawing: Drawing, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._drawing: Drawing = drawing
        self._page = 0
        self._data: tuple[RunSnapshot, RunSnapshot | None, View] | None = None
        self._quantities: Page = QUANTITIES
        self.shown: tuple[Quantity, ...] = ()

    def compose(self) -> ComposeResult:
        """A curve for each quantity."""
        for quantity in _EVERY:
            yield Curve(self._drawing, id=_id(quantity))

    def on_mount(self) -> None:
        """Begin with the first ones."""
        self._arrange()

    def on_resize(self) -> None:
        """More room shows more curves."""
        self._arrange()

    @property
    def turns(self) -> bool:
        """Whether there are curves that are not shown."""
        return len(self.shown) < len(self._quantities)

    def turn(self) -> None:
        """Show the next curves."""
        self._page += 1
        self._arrange()

    def show(self, snapshot: RunSnapshot, other: RunSnapshot | None, view: View, *, by_depth: bool) -> None:
        """Show a run, with another one beside it or without.

        by_depth  whether it learns a learngene, which is evaluated at several depths
        """
        self._data = snapshot, other, view
        self._quantities = _EVERY if by_depth else QUANTITIES
        self._arrange()
        self._draw()

    def _draw(self) -> None:
        if self._data is None:
            return
        snapshot, other, view = self._data
        for quantity in self.shown:
            self.query_one(f"#{_id(quantity)}", Curve).show(make_plot(quantity, snapshot, other, view))

    def curve(self, quantity: Quantity) -> Curve:
        """The curve of a quantity."""
        return self.query_one(f"#{_id(quantity)}", Curve)

    def _arrange(self) -> None:
        width, height = self.size
        every = self._quantities
        if height < _TALL:
            pages = pages_of(every, 2)
        elif width < _WIDE:
            pages = pages_of(every, 4)
        else:
            pages = [every]
        shown = pages[self._page % len(pages)]
        if shown == self.shown:
            return
        self.shown = shown
        whole = len(shown) == len(every)  # Loss and accuracies in the first row then, and three in those below.
        first = shown[: shown.index(_OTHERS[0])] if whole else shown[:2]
        for quantity in _EVERY:
            curve = self.curve(quantity)
            curve.display = quantity in shown
            curve.styles.column_span = 1 if not whole else 6 // len(first) if quantity in first else 2
        self.styles.grid_size_columns = 6 if whole else min(len(shown), 2)
        self.styles.grid_size_rows = 1 + ceil((len(shown) - len(first)) / (3 if whole else 2))
        self._draw()


def _id(quantity: Quantity) -> str:
    return f"curve-{quantity.name.replace(' ', '-')}"
