"""A line to type in. Nothing blinks."""

from typing import Any

from textual.widgets import Input


class Field(Input):
    """Textual's input, with a cursor that stands still."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_blink = False
