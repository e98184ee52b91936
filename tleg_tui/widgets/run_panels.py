"""What happens in a run, and what its trainer prints: two lists that grow at their end."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from tleg.text import printable
from tleg_tui.run_words import Happening, clock
from tleg_tui.widgets.spans import TextLines
from tleg_tui.widgets.tail import Tail


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
