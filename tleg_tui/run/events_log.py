"""What happened in a run, and what its trainer printed: two lists that grow at their end.

The view follows the end, and stays where it is once somebody scrolled up."""

import time
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tleg.runs.history import RunSnapshot
from tleg.runs.reports import EvaluationReport
from tleg.runs.text import format_reached
from tleg.text import format_bytes, printable
from tleg_tui.actions import bindings
from tleg_tui.common.lines import TextLines, to_strip
from tleg_tui.common.wording import noted
from tleg_tui.run.numbers import grouped

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


_MOST_EVENTS: Final = 400


class Happening(NamedTuple):
    """Something that happened: when, with which glyph and colour, in words."""

    t: float
    glyph: str
    colour: str
    text: str


def happenings(snapshot: RunSnapshot, broken: int = 0, broken_at: float | None = None) -> list[Happening]:
    """Return what happened in a run, oldest first: starts, evaluations, checkpoints, warnings, and how it ended.

    broken, broken_at  how many lines of the events could not be read, and when the last of them was written
    """
    found: list[Happening] = []
    if snapshot.start is not None and not snapshot.resumptions:
        found.append(Happening(snapshot.start.t, "▶", "$success", _start(snapshot)))
    for start in snapshot.resumptions:
        source = f" from {start.resumed_from}" if start.resumed_from else ""
        found.append(Happening(start.t, "▶", "$success", f"went on at step {grouped(start.step)}{source}"))
    found += [Happening(each.t, "○", "$foreground", evaluation_words(each)) for each in snapshot.evaluations]
    for kept in snapshot.checkpoints:
        size = "" if kept.bytes is None else f", {format_bytes(kept.bytes)}"
        best = ", the best so far" if kept.best else ""
        found.append(
            Happening(kept.t, "■", "$foreground-muted", f"checkpoint of step {grouped(kept.step)} saved{size}{best}")
        )
    found += [Happening(each.t, "!", "$warning", noted(each.text)) for each in snapshot.warnings]
    if (finish := snapshot.finish) is not None:
        colour = {"failed": "$error", "finished": "$success"}.get(finish.state, "$warning")
        reason = finish.reason or finish.state
        text = reason if reason.startswith(finish.state) else f"{finish.state}: {reason}"
        found.append(Happening(finish.t, "✗" if finish.state == "failed" else "■", colour, noted(text)))
    if broken:
        lines = "1 line" if broken == 1 else f"{broken} lines"
        found.append(Happening(broken_at or 0.0, "!", "$warning", f"{lines} of the events could not be read"))
    found.sort(key=lambda each: each.t)
    return found[-_MOST_EVENTS:]


def evaluation_words(report: EvaluationReport) -> str:
    """An evaluation: 'epoch 3: top-1 81.2 %', or the mean and then every depth."""
    where = "" if report.epoch is None else f"epoch {report.epoch}: "
    weights = " (average of the weights)" if report.weights == "ema" else ""
    figures = [(each.depth, each.top1 if report.cosine is None else each.cosine) for each in report.scores]
    scores = [(depth, figure) for depth, figure in figures if figure is not None]
    decimals = 1 if report.cosine is None else 3
    if report.monitored is None or not scores:
        return f"{where}evaluated{weights}"
    depths = ""
    if len(scores) > 1:
        depths = " in the mean; " + ", ".join(f"depth {depth} {figure:.{decimals}f}" for depth, figure in scores)
    elif scores[0][0] is not None:
        depths = f" at depth {scores[0][0]}"
    reached = format_reached(report, decimals=1)
    return f"{where}{'top-1 ' if report.cosine is None else ''}{reached}{depths}{weights}"


def _start(snapshot: RunSnapshot) -> str:
    start = snapshot.start
    assert start is not None
    parts = [f"started on {start.device or 'a device'}", start.precision or ""]
    if start.world_size and start.world_size > 1:
        parts.append(f"{start.world_size} processes")
    return ", ".join(filter(None, parts)) + (f" ({start.reason})" if start.reason else "")


def clock(t: float) -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S", time.localtime(t))


class GrowingPanel(Vertical):
    """A title, with how many lines wait below, and the lines."""

    DEFAULT_CSS = """
    GrowingPanel { height: 1fr; padding: 0 1; }
    GrowingPanel > TextLines { height: 1; }
    """

    def __init__(self, title: str, empty: str, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._title, self._empty = title, empty

    def compose(self) -> ComposeResult:
        """The title over the lines."""
        yield TextLines()
        yield Tail()

    @property
    def tail(self) -> Tail:
        """The lines."""
        return self.query_one(Tail)

    def on_mount(self) -> None:
        """Say that there is nothing."""
        self.add_class("-empty")
        self._entitle()

    def on_resize(self) -> None:
        """The title is as wide as the panel."""
        self._entitle()

    def on_tail_moved(self, message: Tail.Moved) -> None:
        """Say in the title where the view is."""
        self._entitle()
        self.set_class(not self.tail.lines, "-empty")
        self.screen.refresh_bindings()

    def _entitle(self) -> None:
        tail = self.tail
        parts: list[tuple[str, str]] = [(self._title, "bold $primary")]
        if not tail.lines:
            parts.append((f"  {self._empty}", "$foreground-muted"))
        elif tail.pending:
            lines = "1 new line" if tail.pending == 1 else f"{tail.pending} new lines"
            parts.append((f"  {lines} below, end follows", "bold $accent"))
        elif not tail.following:
            parts.append(("  scrolled up, end follows", "$foreground-muted"))
        self.query_one(TextLines).say(Content.assemble(*parts))


class EventsPanel(GrowingPanel):
    """What happened: starts, evaluations, checkpoints, warnings."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__("Events", "nothing has happened yet", id=id)
        self._known: tuple[Happening, ...] = ()

    def show(self, found: Sequence[Happening]) -> None:
        """Show what happened."""
        if tuple(found) != self._known:
            self._known = tuple(found)
            self.tail.replace([_event(each) for each in found])


class LogPanel(GrowingPanel):
    """What the trainer prints."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__("Log", "the trainer has printed nothing", id=id)

    def add(self, lines: Sequence[str]) -> None:
        """Show new lines."""
        self.tail.append([Content(printable(line)) for line in lines])


def _event(each: Happening) -> Content:
    return Content.assemble(
        (f"{clock(each.t)} ", "$foreground-muted"), (f"{each.glyph} ", each.colour), (printable(each.text), each.colour)
    )
