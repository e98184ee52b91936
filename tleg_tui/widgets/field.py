"""A line to type in. Nothing blinks."""

from typing import Any

from rich.cells import cell_len
from textual.widgets import Input

from tleg_tui.fitting import fit


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
