"""A training on several machines: the line that is typed on each."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tleg.text import printable
from tleg_tui.screens.base import Dialog


class NodeLineScreen(Dialog[None]):
    """The line, which can be copied."""

    DEFAULT_CSS = """
    NodeLineScreen #line { height: auto; margin: 1 0; color: $accent; }
    NodeLineScreen Horizontal { height: 1; }
    NodeLineScreen Button { margin-right: 2; }
    """

    def __init__(self, line: str) -> None:
        super().__init__()
        self._line = line

    def compose(self) -> ComposeResult:
        """What to do, the line, two buttons."""
        with Vertical(classes="dialog"):
            yield Static("Several machines", classes="dialog-title")
            yield Static("The run is made and waits. On each machine, run:")
            yield Static(printable(self._line), id="line", markup=False)
            with Horizontal():
                yield Button("copy (enter)", id="copy", variant="primary", compact=True)
                yield Button("close (esc)", id="close", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Copy it, or close."""
        if event.button.id == "copy":
            self.app.copy_to_clipboard(self._line)
            self.bench.tell("copied")
        else:
            self.dismiss(None)
