"""The line of a table that the cursor is on."""

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip


def with_cursor(strip: Strip, cursor: Style) -> Strip:
    """Return a line with the cursor's background, over the one that its segments state themselves."""
    return Strip(Segment.apply_style(strip, post_style=Style(bgcolor=cursor.bgcolor, bold=True)), strip.cell_length)
