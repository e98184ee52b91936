"""Lines that grow at their end: the view follows it, and stays where it is once somebody scrolled up."""

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tleg_tui.actions import bindings
from tleg_tui.widgets.spans import to_strip

MOST_LINES: Final = 5000


class Tail(ScrollView, can_focus=True):
    """The lines that are in sight, out of many. `pending` counts those that came since somebody scrolled up."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("tail")]
    DEFAULT_CSS = """
    Tail { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    Tail:focus { background-tint: $foreground 4%; }
    """

    class Moved(Message):
        """Lines came, or somebody scrolled: whether the end is followed, or how many wait, may have changed."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._contents: list[Content] = []
        self._shift = 0
        self.following = True
        self.pending = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines, as text."""
        return tuple(content.plain for content in self._contents)

    @property
    def first_in_sight(self) -> int:
        """The number of the first line that is in sight."""
        return round(self.scroll_offset.y)

    def append(self, contents: Sequence[Content]) -> None:
        """Add lines. Of very many the oldest are forgotten, and what is in sight stays there."""
        if not contents:
            return
        self._contents += contents
        gone = max(0, len(self._contents) - MOST_LINES)
        del self._contents[:gone]
        self._changed(len(contents), gone)

    def replace(self, contents: Sequence[Content]) -> None:
        """Show other lines; those that were there before mostly are the same."""
        known = self._contents
        if len(contents) == len(known) and all(a == b for a, b in zip(contents, known, strict=True)):
            return
        added = max(0, len(contents) - len(known))
        self._contents = list(contents)
        self._changed(added, 0)

    def _changed(self, added: int, gone: int) -> None:
        top = self.first_in_sight
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._contents))
        if self.following:
            self.call_after_refresh(self._to_end)
        else:
            self.pending += added
            if gone:
                self.scroll_to(y=max(0, top - gone), animate=False)
        self.refresh()
        self.post_message(self.Moved())

    def _to_end(self) -> None:
        if self.following:
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Whoever scrolls up stays there; whoever reaches the end follows it."""
        super().watch_scroll_y(old_value, new_value)
        at_end = round(new_value) >= self.max_scroll_y
        if at_end and not self.following:
            self.following, self.pending = True, 0
            self.post_message(self.Moved())
        elif not at_end and new_value < old_value and self.following:
            self.following = False
            self.post_message(self.Moved())

    def on_resize(self) -> None:
        """Keep the end in sight."""
        if self.following:
            self.call_after_refresh(self._to_end)

    def action_scroll_tail(self, count: int) -> None:
        """Scroll by lines."""
        self.scroll_to(y=self.scroll_offset.y + count, animate=False)

    def action_page(self, count: int) -> None:
        """Scroll by pages."""
        self.action_scroll_tail(count * max(1, self.scrollable_content_region.height - 1))

    def action_shift(self, count: int) -> None:
        """Show what lies further right in long lines, or further left."""
        width = max((content.cell_length for content in self._contents), default=0)
        room = max(0, width - self.scrollable_content_region.width)
        self._shift = min(max(self._shift + count, 0), room)
        self.refresh()

    def action_top(self) -> None:
        """Show the first line."""
        self.scroll_to(y=0, animate=False)

    def action_follow(self) -> None:
        """Follow the end."""
        self.following, self.pending, self._shift = True, 0, 0
        self._to_end()
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """One of the lines in sight."""
        width = self.scrollable_content_region.width
        place = y + self.first_in_sight
        if place >= len(self._contents):
            return Strip.blank(width, self.rich_style)
        content = self._contents[place]
        if not self._shift:
            return to_strip(self, content, width)
        whole = to_strip(self, content, max(content.cell_length, self._shift + width))
        return whole.crop(self._shift, self._shift + width)
