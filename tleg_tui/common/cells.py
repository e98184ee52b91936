"""Texts in cells: the line that the cursor is on, cut to a width, as bars and as sparklines."""

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from tleg.text import printable


def with_cursor(strip: Strip, cursor: Style) -> Strip:
    """Return a line with the cursor's background, over the one that its segments state themselves.

    Where the terminal's own colours are used it is reversed, which is read on any ground. Those colours have no shades: a
    tinted background would be the full colour, and what is written in colour vanish on it.
    """
    if cursor.reverse:
        style = Style(color="default", bgcolor="default", bold=True, dim=False, reverse=True)
    else:
        style = Style(bgcolor=cursor.bgcolor, bold=True)
    return Strip(Segment.apply_style(strip, post_style=style), strip.cell_length)


def under_cursor(widget: Widget, content: Content) -> Content:
    """Return the text of a widget without colours of its own where the focus reverses it."""
    return Content(content.plain) if widget.has_focus and widget.app.native_ansi_color else content


def fit(text: str, width: int) -> str:
    """Return a text in exactly so many cells; what is cut off leaves '…'."""
    fitted = set_cell_size(text, width)
    return fitted if fitted.startswith(text) else set_cell_size(text, width - 1) + "…"


def fit_ends(text: str, width: int) -> str:
    """Return a text in exactly so many cells; what is cut out of its middle leaves '…'.

    For names that begin alike and end in what tells them apart: '-depth8', 'at depth 8', '-2'.
    """
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    room = width // 2
    end = len(text)
    while end and cell_len(text[end - 1 :]) <= room:
        end -= 1
    last = text[end:]
    return set_cell_size(text, width - 1 - cell_len(last)) + "…" + last


_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def bar_text(share: float, width: int) -> str:
    """Return a bar for a share of `width` cells: nothing for 0, and never less than a sliver for more."""
    eighths = max(round(min(max(share, 0.0), 1.0) * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_PLAIN: Final = "_.-'"  # Each higher in its cell than the one before.


def sparkline(values: Sequence[float | None], cells: int, *, plain: bool = False) -> str:
    """Return values as blocks, the least lowest and the greatest highest; blank where nothing is known.

    Values that share a cell are averaged. Positive values are drawn by their logarithm: the first steps of a training would
    flatten all that follows. With `plain` the blocks are ASCII.
    """
    if not values or cells <= 0:
        return " " * max(cells, 0)
    levels = _PLAIN if plain else _BLOCKS
    shown = [_mean(values[cell * len(values) // cells : max((cell + 1) * len(values) // cells, 1)]) for cell in range(cells)]
    known = [value for value in shown if value is not None]
    if not known:
        return " " * cells
    if min(known) > 0:
        shown = [None if value is None else math.log(value) for value in shown]
        known = [value for value in shown if value is not None]
    low, span = min(known), max(known) - min(known)
    return "".join(" " if value is None else levels[_level(value - low, span, len(levels))] for value in shown)


def _level(height: float, span: float, levels: int) -> int:
    # A curve that has no height runs along the bottom.
    return 0 if span <= 0 else min(int(height / span * levels), levels - 1)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def hanging(title: str, text: str, width: int, *, style: str = "", text_style: str = "") -> Iterator[Content]:
    """Lines of at most `width` cells: a title and a text that goes on below its own beginning, in 8 cells at least."""
    for place, part in enumerate(wrap(printable(text), max(width - len(title), 8)) or [""]):
        yield Content.assemble((" " * len(title) if place else title, style), (part, text_style))
