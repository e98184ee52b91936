"""The line that the cursor is on. Where the terminal's own colours are used it is reversed, which is read on any ground.

Those colours have no shades: a tinted background would be the full colour, and what is written in colour vanish on it.
"""

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget


def with_cursor(strip: Strip, cursor: Style) -> Strip:
    """Return a line with the cursor's background, over the one that its segments state themselves."""
    if cursor.reverse:
        style = Style(color="default", bgcolor="default", bold=True, dim=False, reverse=True)
    else:
        style = Style(bgcolor=cursor.bgcolor, bold=True)
    return Strip(Segment.apply_style(strip, post_style=style), strip.cell_length)


def under_cursor(widget: Widget, content: Content) -> Content:
    """Return the text of a widget without colours of its own where the focus reverses it."""
    return Content(content.plain) if widget.has_focus and widget.app.native_ansi_color else content
