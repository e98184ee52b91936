"""The panels on the left: the learngenes, and the limits of the deployment."""

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Label, Static
from textual.widgets.option_list import Option

from tleg.text import printable
from tleg_tui.actions import bindings
from tleg_tui.common.inputs import Field, OptionList
from tleg_tui.common.learngenes import Entry
from tleg_tui.common.wording import shortened
from tleg_tui.workbench import rows
from tleg_tui.workbench.budget import FIELDS, Wanted, read_budget
from tleg_tui.workbench.rows import Rows

_NO_LIMITS: Final = ("batch", "device")
_ROWS: Final = "rows-"  # Before the keys of what the table shows.


class EntryChosen(Message):
    """A learngene was chosen."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


class BudgetChanged(Message):
    """What a deployment allows or the rows of the table changed; `texts` are what it allows, as typed."""

    def __init__(self, wanted: Wanted, rows: Rows, texts: dict[str, str]) -> None:
        super().__init__()
        self.wanted = wanted
        self.rows = rows
        self.texts = texts


class LearngeneList(OptionList):
    """A list of learngenes; the cursor chooses. One that cannot be used is marked and says why when it is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("learngenes")]
    DEFAULT_CSS = """
    LearngeneList { height: auto; max-height: 8; border: none; background: transparent; padding: 0; }
    LearngeneList:focus { border: none; }
    LearngeneList { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id, compact=True)
        self._entries: tuple[Entry, ...] = ()
        self._chosen: Entry | None = None

    def show(self, entries: tuple[Entry, ...], chosen: Entry | None) -> None:
        """Show other entries, or another choice."""
        if entries == self._entries and chosen == self._chosen:
            return
        self._entries, self._chosen = entries, chosen
        with self.prevent(OptionList.OptionHighlighted):
            place = self.highlighted
            self.clear_options()
            self.add_options([Option(_line(entry, entry == chosen)) for entry in entries])
            if chosen in entries:
                self.highlighted = entries.index(chosen)
            elif entries and place is not None:
                self.highlighted = min(place, len(entries) - 1)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """The cursor chooses at once."""
        event.stop()
        self._choose(event.option_index)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """So do Enter and a click."""
        event.stop()
        self._choose(event.option_index)

    def _choose(self, place: int) -> None:
        if place < len(self._entries) and self._entries[place] != self._chosen:
            self.post_message(EntryChosen(self._entries[place]))


def _line(entry: Entry, chosen: bool) -> Content:
    if entry.error is not None:
        return Content.assemble(("✗ ", "$error"), (printable(entry.name), "$foreground-muted"))
    glyph = ("● ", "bold $accent") if chosen else ("○ ", "$foreground-muted")
    return Content.assemble(glyph, (printable(entry.name), "bold" if chosen else ""))


class BudgetPanel(Vertical):
    """Fields that act as they are typed in; Enter and Escape go back to the table.

    The limits are remembered between starts; what the table shows is asked for anew each time.
    """

    DEFAULT_CSS = """
    BudgetPanel { height: auto; }
    BudgetPanel Horizontal { height: 1; }
    BudgetPanel Label { width: 10; color: $text-muted; }
    BudgetPanel Field { width: 1fr; }
    BudgetPanel #problem { color: $error; height: auto; }
    """

    def __init__(self, texts: dict[str, str], *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._texts = {key: text for key, text in texts.items() if key in {each for each, _, _ in FIELDS}}
        self._rows: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """A line for each limit."""
        yield Label("Budget", classes="panel-title")
        for key, label, example in FIELDS:
            with Horizontal():
                yield Label(label)
                yield Field(
                    self._texts.get(key, ""), placeholder=example if key in _NO_LIMITS else "–", id=key, compact=True
                )
        yield Label("Table", classes="panel-title", id="rows-title")
        for key, label, usual in rows.FIELDS:
            with Horizontal():
                yield Label(label)
                yield Field("", placeholder=usual, id=f"{_ROWS}{key}", compact=True)
        yield Static(id="problem")

    def on_input_changed(self, event: Field.Changed) -> None:
        """Read all fields again."""
        event.stop()
        key = str(event.input.id)
        (self._rows if key.startswith(_ROWS) else self._texts)[key.removeprefix(_ROWS)] = event.value
        wanted = read_budget(self._texts)
        asked, wrong = rows.read_rows(self._rows)
        self.query_one("#problem", Static).update(Content(shortened(wanted.problem or wrong or "")))
        self.post_message(BudgetChanged(wanted, asked, dict(self._texts)))

    def begin(self) -> None:
        """Go to the first field."""
        self.screen.set_focus(self.query_one("#parameters", Field))  # At once: a digit typed now belongs there.
