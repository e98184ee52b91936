"""What all screens share: a title above, keys below, classes by size, and how each is left."""

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.screen import ModalScreen, Screen

from tleg_tui.actions import bindings, bindings_above
from tleg_tui.common.bars import KeyBar, TitleBar

if TYPE_CHECKING:
    from tleg_tui.host import Host

    Base = Screen[Any]
else:
    Base = object  # Of several bases Textual takes the styles of the first widget alone, so this is none.


class Leaving(Base):
    """Mixed into a screen, its `dismiss` takes itself off, and not whatever lies on top of it, as Textual's does.

    A second `dismiss` (two quick Escapes, an Enter and the end of a child process) does nothing. One that comes while
    another screen lies on top is done when that one is gone.
    """

    _due: tuple[Any] | None = None

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Leave with a result."""
        if self.app.screen is self:
            return super().dismiss(result)
        if self in self.app.screen_stack:
            self._due = (result,)
        return AwaitComplete(asyncio.sleep(0))

    def on_screen_resume(self) -> None:
        """Leave, if that was due."""
        if self._due is not None:
            (result,), self._due = self._due, None
            self.dismiss(result)


Result = TypeVar("Result")
# Names of classes by the width and height of the terminal.
WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (110, "-wide")]
# From here on a screen is huge, and wide as well: of Textual's breakpoints one alone counts.
HUGE: Final = 170
HEIGHTS: list[tuple[int, str]] | None = [(0, "-short"), (34, "-tall")]


class WorkScreen(Leaving, Screen[None]):
    """A screen that fills the terminal. SCOPE names its actions in `tleg_tui.actions`, NAME stands in the title line."""

    SCOPE: ClassVar[str]
    NAME: ClassVar[str]
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    @property
    def host(self) -> "Host":
        """The application, as far as screens know it."""
        return cast("Host", self.app)

    def compose(self) -> ComposeResult:
        """The title, the body, the keys."""
        self._take_classes()
        title = TitleBar()
        title.title = self.NAME
        title.runs = self.host.runs
        yield title
        yield from self.compose_body()
        yield KeyBar()

    def _take_classes(self) -> None:
        """Take the classes of this size: Textual sets them after all is made, and would style everything a second time."""
        size = self.app.size
        for breakpoints, length in ((self.HORIZONTAL_BREAKPOINTS, size.width), (self.VERTICAL_BREAKPOINTS, size.height)):
            self.add_class(*[name for least, name in sorted(breakpoints or ()) if length >= least][-1:])
        self.set_class(size.width >= HUGE, "-huge")

    def on_resize(self, event: Resize) -> None:
        """Be huge, or not any more."""
        self.set_class(event.size.width >= HUGE, "-huge")

    def compose_body(self) -> ComposeResult:
        """What stands between the two lines."""
        yield from ()

    def on_mount(self) -> None:
        """Show which runs are at work."""
        self.watch(self.app, "runs", self._show_runs, init=False)

    def on_screen_resume(self) -> None:
        """Catch up on what happened below another screen."""
        self._show_runs()

    def _show_runs(self) -> None:
        if not self.is_current:  # What is painted where nobody sees it costs as much; below a dialog it is seen.
            return
        for title in self.query(TitleBar):
            title.runs = self.host.runs

    def why_not(self, action: str) -> str:
        """Why an action that `check_action` refuses is not possible now, and what makes it so; '' when that is not known."""
        return ""

    def waits_for(self, key: str) -> bool:
        """Whether something that a key needs is still to come, such as the first look at a run."""
        return False

    @property
    def unsaved(self) -> str | None:
        """What would be lost by leaving, as a question; None when nothing would."""
        return None

    def action_back(self) -> None:
        """Leave this screen for the one below."""
        if len(self.app.screen_stack) > 1:
            self.dismiss()


class Dialog(Leaving, ModalScreen[Result | None]):
    """A box over a screen, which Escape closes without a result."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("dialog"),
        *bindings_above(),
        Binding("ctrl+c", "app.help_quit", "how to quit", show=False),
    ]
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    @property
    def host(self) -> "Host":
        """The application, as far as screens know it."""
        return cast("Host", self.app)

    def action_back(self) -> None:
        """Close it."""
        self.dismiss(None)
