"""The learngenes on the left."""

from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from tleg.text import printable
from tleg_tui.actions import bindings
from tleg_tui.learngenes import Entry
from tleg_tui.messages import EntryChosen
from tleg_tui.widgets.option_list import OptionList


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
