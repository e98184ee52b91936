"""A box to tick. Ticked or not is a sign, and not a colour alone."""

from typing import Any

from textual.widgets import Checkbox


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
