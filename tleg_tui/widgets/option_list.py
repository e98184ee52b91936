"""Textual's list of options."""

from contextlib import suppress
from typing import Any

from textual.widgets import OptionList as TextualOptionList


class OptionList(TextualOptionList):
    """Textual's, which fails when it is moved by a page before its first line was laid out."""

    def _move_page(self, direction: Any) -> None:
        with suppress(KeyError):
            super()._move_page(direction)
