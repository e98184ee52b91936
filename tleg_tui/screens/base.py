"""What all screens share: a title above, keys below, classes by size."""

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size
from textual.screen import ModalScreen, Screen

from tleg_tui.actions import bindings
from tleg_tui.widgets.key_bar import KeyBar
from tleg_tui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from tleg_tui.app import Workbench

Result = TypeVar("Result")
# Names of classes by the width and height of the terminal.
WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (110, "-wide"), (170, "-huge")]
HEIGHTS: list[tuple[int, str]] | None = [(0, "-short"), (34, "-tall")]


def classes_of(size: Size, widths: list[tuple[int, str]] | None, heights: list[tuple[int, str]] | None) -> str:
    """Return the classes that a screen of this size gets from its breakpoints."""
    chosen = [
        [name for least, name in sorted(breakpoints or ()) if length >= least][-1:]
        for length, breakpoints in ((size.width, widths), (size.height, heights))
    ]
    return " ".join(name for names in chosen for name in names)


class WorkScreen(Screen[None]):
    """A screen that fills the terminal. SCOPE names its actions in `tleg_tui.actions`, NAME stands in the title line."""

    SCOPE: ClassVar[str]
    NAME: ClassVar[str]
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    @property
    def bench(self) -> "Workbench":
        """The application."""
        return cast("Workbench", self.app)

    def compose(self) -> ComposeResult:
        """The title, the body, the keys."""
        title = TitleBar()
        title.title = self.NAME
        title.runs = self.bench.runs
        yield title
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """What stands between the two lines."""
        yield from ()

    def on_mount(self) -> None:
        """Show which runs are at work."""
        self.watch(self.app, "runs", self._show_runs, init=False)

    def _show_runs(self) -> None:
        for title in self.query(TitleBar):
            title.runs = self.bench.runs

    def action_back(self) -> None:
        """Leave this screen for the one below."""
        if len(self.app.screen_stack) > 1:
            self.dismiss()


class Dialog(ModalScreen[Result | None], Generic[Result]):
    """A box over a screen, which Escape closes without a result."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("dialog")]
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    @property
    def bench(self) -> "Workbench":
        """The application."""
        return cast("Workbench", self.app)

    def action_back(self) -> None:
        """Close it."""
        self.dismiss(None)
