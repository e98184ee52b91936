"""Textual's inputs as they behave here: a line to type in, a box to tick, a list of options."""

from contextlib import suppress
from typing import Any

from rich.cells import cell_len
from textual.widgets import Checkbox, Input
from textual.widgets import OptionList as TextualOptionList

from tleg_tui.common.cells import fit


class Field(Input):
    """Textual's input, with a cursor that stands still."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_blink = False
        self._hint = self.placeholder

    def on_resize(self) -> None:
        """A hint that is longer than the line ends in '…'."""
        width = self.scrollable_content_region.width
        if isinstance(self._hint, str) and width > 0:
            self.placeholder = self._hint if cell_len(self._hint) <= width else fit(self._hint, width)


class Tick(Checkbox):
    """Textual's checkbox on one line: [x] or [ ]."""

    BUTTON_LEFT = "["
    BUTTON_RIGHT = "]"

    def __init__(self, label: str, value: bool = False, **options: Any) -> None:
        super().__init__(label, value, compact=True, **options)
        self.BUTTON_INNER = "x" if value else " "

    def watch_value(self) -> None:
        """Change the sign with the value."""
        self.BUTTON_INNER = "x" if self.value else " "
        super().watch_value()


class OptionList(TextualOptionList):
    """Textual's, which fails when it is moved by a page before its first line was laid out."""

    def _move_page(self, direction: Any) -> None:
        with suppress(KeyError):
            super()._move_page(direction)
