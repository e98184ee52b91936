"""A question before what cannot be undone."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tleg_tui.screens.base import Dialog


class ConfirmScreen(Dialog[bool]):
    """Yes or no; Escape and the first choice are no. `yes` says what happens, as in 'delete'."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes", show=False),
        Binding("n", "answer(False)", "no", show=False),
        Binding("left,right", "app.focus_next", "other", show=False),
    ]
    DEFAULT_CSS = """
    ConfirmScreen #question { margin-bottom: 1; height: auto; }
    ConfirmScreen Horizontal { height: 1; }
    ConfirmScreen Button { margin-right: 2; }
    """

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        """The question and two answers."""
        with Vertical(classes="dialog"):
            yield Static(self._question, id="question", markup=False)
            with Horizontal():
                yield Button("no (n)", id="no", compact=True)
                yield Button(f"{self._yes} (y)", id="yes", variant="error", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Answer by letter."""
        self.dismiss(yes)
