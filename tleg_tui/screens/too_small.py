"""What is shown while the terminal is too small."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from tleg_tui.screens.leaving import Leaving


class TooSmallScreen(Leaving, ModalScreen[None]):
    """One sentence. It goes away by itself when the terminal grows."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,ctrl+q,ctrl+c", "app.quit", "quit", show=False)]
    DEFAULT_CSS = """
    TooSmallScreen { align: center middle; background: $background; }
    TooSmallScreen > Static { width: 100%; text-align: center; }
    """

    def __init__(self, least: tuple[int, int]) -> None:
        super().__init__()
        self._least = least

    def compose(self) -> ComposeResult:
        """The sentence."""
        yield Static(id="sentence")

    def on_screen_resume(self) -> None:
        """The terminal may have grown while something lay above this."""
        if self.app.size.width >= self._least[0] and self.app.size.height >= self._least[1]:
            self.dismiss()

    def on_resize(self) -> None:
        """Name both sizes."""
        width, height = self._least
        self.query_one(Static).update(
            f"The terminal is too small: {self.app.size.width} x {self.app.size.height}, and tleg needs {width} x {height}. "
            "Make it larger, or press q to leave."
        )
