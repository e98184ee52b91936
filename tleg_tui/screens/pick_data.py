"""Pick a data set, a teacher, a learngene or a name of timm's: from a list that typing narrows down, or by a path."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static
from textual.widgets.option_list import Option

from tleg.text import printable
from tleg_tui.offers import Offer, walk
from tleg_tui.screens.base import Dialog
from tleg_tui.widgets.field import Field
from tleg_tui.widgets.option_list import OptionList

_MOVES = {"down": "cursor_down", "up": "cursor_up", "pagedown": "page_down", "pageup": "page_up"}


class PickNameScreen(Dialog[str]):
    """Enter takes what the cursor is on, or what was typed when nothing fits it; a folder that is none is walked into."""

    DEFAULT_CSS = """
    PickNameScreen OptionList { height: auto; max-height: 14; border: none; background: transparent; margin-top: 1; }
    PickNameScreen #how { margin-top: 1; }
    """

    class Walked(Message):
        """What a path that is being typed leads to was looked up."""

        def __init__(self, text: str, offers: tuple[Offer, ...]) -> None:
            super().__init__()
            self.text = text
            self.offers = offers

    def __init__(self, name: str, offers: Sequence[Offer]) -> None:
        super().__init__()
        self._field = name
        self._offers = tuple(offers)
        self._shown: tuple[Offer, ...] = ()

    def compose(self) -> ComposeResult:
        """A line to type in and the list."""
        with Vertical(classes="dialog"):
            yield Static(f"Choose {self._field}", classes="dialog-title")
            yield Field(placeholder="type to narrow down, or type a path", compact=True)
            yield OptionList(compact=True)
            yield Static("enter takes what you typed", classes="hint", id="none")
            yield Static("↑ ↓ choose   enter takes   a path walks through folders   esc closes", classes="hint", id="how")

    def on_mount(self) -> None:
        """Show all."""
        self._show(self._offers)
        self.query_one(Field).focus()

    def on_input_changed(self, event: Field.Changed) -> None:
        """Narrow down, or walk."""
        text = event.value.strip()
        words = text.lower().split()
        self._show(
            tuple(each for each in self._offers if all(word in f"{each.text} {each.about}".lower() for word in words))
        )
        self._walk(text)

    def on_key(self, event: Any) -> None:
        """The arrows move the cursor of the list while one types."""
        if event.key in _MOVES and isinstance(self.focused, Field):
            event.stop()
            getattr(self.query_one(OptionList), f"action_{_MOVES[event.key]}")()

    def on_input_submitted(self, event: Field.Submitted) -> None:
        """Take it."""
        place = self.query_one(OptionList).highlighted
        if place is not None and place < len(self._shown):
            self._take(self._shown[place])
        elif event.value.strip():
            self.dismiss(event.value.strip())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take it."""
        self._take(self._shown[event.option_index])

    @work(exclusive=True, group="walk")
    async def _walk(self, text: str) -> None:
        with self.bench.keys_wait():
            offers = await asyncio.to_thread(walk, text, self._field)
            if offers:
                self.post_message(self.Walked(text, offers))

    def on_pick_name_screen_walked(self, message: Walked) -> None:
        """Show folders, if the text is still the same."""
        if message.text == self.query_one(Field).value.strip():
            self._show(message.offers)

    def _take(self, offer: Offer) -> None:
        field = self.query_one(Field)
        if offer.walk or offer.text.endswith(("/", ":")):
            field.value = offer.text if offer.text.endswith(("/", ":")) else f"{offer.text}{os.sep}"
            field.focus()
        else:
            self.dismiss(offer.text)

    def _show(self, offers: tuple[Offer, ...]) -> None:
        self._shown = offers
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options(
            [Option(Content.assemble(printable(each.text), (f"  {each.about}", "$foreground 60%"))) for each in offers]
        )
        choices.highlighted = 0 if offers else None
        self.query_one("#none").display = not offers
