"""The curves of a run, as many at once as the terminal has room for."""

from math import ceil
from typing import Final

from textual.app import ComposeResult
from textual.containers import Grid

from tleg.runs.history import RunSnapshot
from tleg_tui.run_curves import ACCURACY, LOSS, QUANTITIES, Quantity, View, make_plot
from tleg_tui.widgets.curve import Curve, Drawing

Page = tuple[Quantity, ...]


def _pages(curves: int) -> list[Page]:
    """So many curves a page."""
    return [QUANTITIES[first : first + curves] for first in range(0, len(QUANTITIES), curves)]


_SMALL_PAGES: Final = _pages(2)
# The loss fills what is left beside an odd number.
_MIDDLE_PAGES: Final = [(*page, LOSS) if len(page) % 2 else page for page in _pages(4)]
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
        self.shown: tuple[Quantity, ...] = ()

    def compose(self) -> ComposeResult:
        """A curve for each quantity."""
        for quantity in QUANTITIES:
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
        return len(self.shown) < len(QUANTITIES)

    def turn(self) -> None:
        """Show the next curves."""
        self._page += 1
        self._arrange()

    def show(self, snapshot: RunSnapshot, other: RunSnapshot | None, view: View) -> None:
        """Show a run, with another one beside it or without."""
        self._data = snapshot, other, view
        for quantity in self.shown:
            self.query_one(f"#{_id(quantity)}", Curve).show(make_plot(quantity, snapshot, other, view))

    def curve(self, quantity: Quantity) -> Curve:
        """The curve of a quantity."""
        return self.query_one(f"#{_id(quantity)}", Curve)

    def _arrange(self) -> None:
        width, height = self.size
        if height < _TALL:
            pages = _SMALL_PAGES
        elif width < _WIDE:
            pages = _MIDDLE_PAGES
        else:
            pages = [QUANTITIES]
        shown = pages[self._page % len(pages)]
        if shown == self.shown:
            return
        self.shown = shown
        whole = len(shown) == len(QUANTITIES)  # Two in the first row then, and three in those below.
        for quantity in QUANTITIES:
            curve = self.curve(quantity)
            curve.display = quantity in shown
            curve.styles.column_span = 1 if not whole else 3 if quantity in (LOSS, ACCURACY) else 2
        self.styles.grid_size_columns = 6 if whole else min(len(shown), 2)
        self.styles.grid_size_rows = 1 + ceil((len(shown) - 2) / (3 if whole else 2))
        if self._data is not None:
            self.show(*self._data)


def _id(quantity: Quantity) -> str:
    return f"curve-{quantity.name.replace(' ', '-')}"
