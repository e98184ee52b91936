"""Lines of which only what changed is painted again: what travels over SSH is what is new.

Every change of colour costs some forty bytes as well, so what changes often stands on the left, in few colours.
"""

from collections.abc import Sequence

from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget


class Spans(Widget):
    """A widget of finished lines. A subclass makes them in `make_lines`, for the size that the widget has."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id, classes=classes)
        self._lines: list[Strip] = []

    def make_lines(self, width: int, height: int) -> list[Strip]:
        """Return the lines for a size."""
        raise NotImplementedError

    def paint(self) -> None:
        """Make the lines, and paint what is different."""
        width, height = self.size
        if not width or not height:
            return
        before, self._lines = self._lines, self.make_lines(width, height)
        if len(before) != len(self._lines):
            self.refresh()
            return
        changed = [
            Region(span[0], y, span[1] - span[0], 1)
            for y, (old, new) in enumerate(zip(before, self._lines, strict=True))
            if (span := changed_span(old, new)) is not None
        ]
        if changed:
            self.refresh(*changed)

    def on_resize(self) -> None:
        """Make the lines for the new size."""
        self._lines = []
        self.paint()

    def notify_style_update(self) -> None:
        """Colours changed: make the lines anew."""
        super().notify_style_update()
        if self.is_mounted:
            self._lines = []
            self.call_next(self.paint)

    def render_line(self, y: int) -> Strip:
        """One of the lines."""
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)


class TextLines(Spans):
    """Some lines of text. What is too long ends in '…'."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id, classes=classes)
        self._texts: tuple[Content, ...] = ()

    @property
    def text(self) -> str:
        """What it says."""
        return "\n".join(content.plain for content in self._texts)

    def say(self, *texts: Content) -> None:
        """Show these lines."""
        if texts != self._texts:
            self._texts = texts
            self.paint()

    def make_lines(self, width: int, height: int) -> list[Strip]:
        """One line each."""
        lines: list[Strip] = []
        for content in self._texts[:height]:
            lines.append(to_strip(self, content, width))
        return lines + [Strip.blank(width, self.rich_style)] * (height - len(lines))


def to_strip(widget: Widget, content: Content, width: int) -> Strip:
    """Return one line of a widget, as wide as asked for."""
    strips = Visual.to_strips(
        widget, content.truncate(width, ellipsis=True), width, 1, widget.visual_style, apply_selection=False, pad=True
    )
    return strips[0].adjust_cell_length(width, widget.rich_style) if strips else Strip.blank(width, widget.rich_style)


def changed_span(old: Strip, new: Strip) -> tuple[int, int] | None:
    """Return from where to where two lines differ. Those with letters that take two cells are compared as a whole.

    One span a line: Textual paints a line of a widget from its left edge on, up to the end of the span.
    """
    if old is new or old == new:
        return None
    before, after = _cells(old), _cells(new)
    if len(before) != old.cell_length or len(after) != new.cell_length or len(before) != len(after):
        return 0, max(old.cell_length, new.cell_length)
    changed = [place for place, (left, right) in enumerate(zip(before, after, strict=True)) if left != right]
    return (changed[0], changed[-1] + 1) if changed else None


def _cells(strip: Strip) -> Sequence[tuple[str, Style | None]]:
    return [(letter, segment.style) for segment in strip for letter in segment.text]
