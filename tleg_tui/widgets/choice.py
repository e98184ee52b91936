"""One of a few words, or yes and no, on one line."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tleg.text import printable
from tleg_tui.widgets.cursor_line import under_cursor


class Choice(Widget, can_focus=True):
    """A word between two arrows; left and right change it, and so does a click on either half.

    `text` is '' while nobody chose: then the default is shown, and dimmed.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "turn(1)", "next", show=False),
        Binding("left", "turn(-1)", "previous", show=False),
    ]
    DEFAULT_CSS = """
    Choice { height: 1; width: 1fr; background: $surface; color: $text-disabled; }
    Choice:focus { background: $primary 25%; }
    Choice:ansi:focus { background: ansi_default; color: ansi_default; text-style: bold reverse; }
    """

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, choice: "Choice", text: str) -> None:
            super().__init__()
            self.choice = choice
            self.text = text

        @property
        def control(self) -> "Choice":
            """Who says so."""
            return self.choice

    text: reactive[str] = reactive("")

    def __init__(self, choices: Sequence[str], text: str, default: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.choices = tuple(choices)
        self.default = default
        self.set_reactive(Choice.text, text)

    def render(self) -> RenderResult:
        """The word, and where it stands among the others when there is room."""
        shown = printable(self.text or self.default)
        word = (shown, "$foreground") if self.text else shown
        return under_cursor(self, Content.assemble(("◂ ", "$accent"), word, (" ▸", "$accent")))

    def action_turn(self, step: int) -> None:
        """The next word, or the one before; after the last comes the first."""
        now = self.text or self.default
        place = self.choices.index(now) if now in self.choices else -1 if step > 0 else 0
        self.text = self.choices[(place + step) % len(self.choices)]
        self.post_message(self.Changed(self, self.text))

    def on_click(self, event: events.Click) -> None:
        """On the left arrow the one before, else the next."""
        self.action_turn(-1 if event.x < 2 else 1)


class Tick(Choice):
    """Yes or no, as a box."""

    def render(self) -> RenderResult:
        """The box."""
        on = (self.text or self.default) == "yes"
        return under_cursor(self, Content.assemble(("[x]" if on else "[ ]", "bold $accent" if on else "")))
