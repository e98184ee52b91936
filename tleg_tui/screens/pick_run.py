"""Choose one of the runs."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static
from textual.widgets.option_list import Option

from tleg.runs.run import RunFolder
from tleg.runs.text import format_top1
from tleg.text import GLYPHS, printable
from tleg_tui.run_list import RunRow
from tleg_tui.screens.base import Dialog
from tleg_tui.widgets.field import Field
from tleg_tui.widgets.option_list import OptionList


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
    best = f"{format_top1(row.look.snapshot.best)} %".removeprefix(" %")
    return Content.assemble(f"{GLYPHS[row.state]} ", printable(row.id), (f"  {row.state}  {best}", "$foreground-muted"))
