"""Small dialogs of several screens: a question before what cannot be undone, one of the runs, a line to type elsewhere;
and what is shown while the terminal is too small.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static
from textual.widgets.option_list import Option

from tleg.runs.run import RunFolder
from tleg.runs.text import format_reached
from tleg.text import GLYPHS, printable
from tleg_tui.common.inputs import Field, OptionList
from tleg_tui.common.screens import Dialog, Leaving, WorkScreen
from tleg_tui.run_list import RunRow


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


class PickRunScreen(Dialog[RunFolder]):
    """A list that typing narrows down; Enter chooses."""

    DEFAULT_CSS = """
    PickRunScreen OptionList { height: auto; max-height: 14; border: none; background: transparent; }
    """

    def __init__(self, title: str, rows: Sequence[RunRow]) -> None:
        super().__init__()
        self._title = title
        self._rows = tuple(rows)
        self._shown: tuple[RunRow, ...] = ()

    def compose(self) -> ComposeResult:
        """A filter and the list."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Field(placeholder="type to narrow down", compact=True)
            yield OptionList(compact=True)
            yield Static("no run has these letters", classes="hint", id="none")
            yield Static("↑ ↓ choose   enter takes   esc closes", classes="hint")

    def on_mount(self) -> None:
        """Show all."""
        self._show("")
        self.set_focus(self.query_one(Field))  # At once: a letter typed now belongs there.

    def on_input_changed(self, event: Field.Changed) -> None:
        """Narrow down."""
        self._show(event.value)

    def on_key(self, event: object) -> None:
        """The arrows move the cursor of the list while one types."""
        key = getattr(event, "key", "")
        moves = {"down": "cursor_down", "up": "cursor_up", "pagedown": "page_down", "pageup": "page_up"}
        if key in moves and self.focused is not self.query_one(OptionList):
            getattr(self.query_one(OptionList), f"action_{moves[key]}")()

    def on_input_submitted(self) -> None:
        """Choose what the cursor is on."""
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._shown):
            self.dismiss(self._shown[place].folder)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Choose."""
        self.dismiss(self._shown[event.option_index].folder)

    def _show(self, text: str) -> None:
        words = text.lower().split()
        self._shown = tuple(
            row for row in self._rows if all(word in f"{row.id} {row.spec.kind} {row.state}".lower() for word in words)
        )
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options([Option(_line(row)) for row in self._shown])
        choices.highlighted = 0 if self._shown else None
        self.query_one("#none").display = not self._shown


def _line(row: RunRow) -> Content:
    best = format_reached(row.look.snapshot.best, marked=True)
    return Content.assemble(f"{GLYPHS[row.state]} ", printable(row.id), (f"  {row.state}  {best}", "$foreground-muted"))


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
            self.host.tell("copied")
        else:
            self.dismiss(None)


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


def leave_or_ask(screen: WorkScreen) -> None:
    """Leave a screen; ask first where something would be lost."""
    if screen.unsaved is None:
        screen.dismiss()
        return

    def then(leave: bool | None) -> None:
        if leave:
            screen.dismiss()

    screen.app.push_screen(ConfirmScreen(screen.unsaved, "leave"), then)
