"""Beside or below the form: help for the focused field, the equal command line, what is missing, and the buttons."""

from collections.abc import Mapping
from textwrap import wrap

from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Button, Static

from tleg.recipes.io import format_command
from tleg.text import printable
from tleg_tui.common.wording import said
from tleg_tui.train.model import Reading

_MOST_NAMED = 3
_MORE = " … F6"  # Which copies all of it.


class _Command(Static):
    """The command. Where more of it lies below than there is room for, the last line in sight ends in '…'."""

    def render_line(self, y: int) -> Strip:
        """One line."""
        strip, box = super().render_line(y), self.parent
        assert isinstance(box, VerticalScroll)
        last = round(box.scroll_offset.y) + box.size.height - 1
        if y != last or self.size.height <= last + 1:
            return strip
        room = self.size.width - len(_MORE)
        return Strip.join([strip.crop(0, room), Strip([Segment(_MORE, self.rich_style)], len(_MORE))])


class _CommandBox(VerticalScroll):
    """The room of the command."""

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Another line is the last one in sight."""
        super().watch_scroll_y(old_value, new_value)
        self.query_one(_Command).refresh()

    def on_resize(self) -> None:
        """What is said above may have taken lines, or left some."""
        self.query_one(_Command).refresh()


class RecipeSide(Vertical):
    """Shows what it is told; buttons are the screen's."""

    DEFAULT_CSS = """
    RecipeSide { height: 6; padding: 0 1; border-top: solid $panel; }
    RecipeSide #about { height: auto; max-height: 3; color: $text-muted; }
    RecipeSide #command-box { height: 1fr; scrollbar-size-vertical: 1; }
    RecipeSide #command-box:focus { background: $primary 10%; }
    RecipeSide #command-box:ansi:focus { background: ansi_default; text-style: bold; }
    RecipeSide #command { height: auto; color: $text-muted; }
    RecipeSide #foot { height: 1; dock: bottom; }
    RecipeSide #status { width: 1fr; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    RecipeSide Button { margin-left: 1; min-width: 13; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: object = None

    def compose(self) -> ComposeResult:
        """Buttons come before the command, so that Tab reaches them first."""
        yield Static(id="about", markup=False)
        with Horizontal(id="foot"):
            yield Static(id="status")
            yield Button("launch F5", id="launch", variant="primary", compact=True)
            yield Button("dry run F4", id="dry-run", compact=True)
            yield Button("copy F6", id="copy", compact=True)
        with _CommandBox(id="command-box"):
            yield _Command(id="command")

    def show_help(self, text: str) -> None:
        """Show the help of a field, on as many lines as it needs; the command has the others."""
        about = self.query_one("#about", Static)
        shown = printable(text)
        lines = len(wrap(shown, about.size.width)) if about.size.width else 0
        # A new layout is made for another number of lines alone: the focus moves fast.
        height = about.styles.height
        about.update(shown, layout=height is not None and height.is_auto and lines != about.size.height)

    def show_command(self, reading: Reading) -> None:
        """Show the command line; what is to be filled in stands in capitals."""
        shown = (reading.command, reading.missing)
        if shown == self._shown:
            return
        self._shown = shown
        if reading.command is None:
            text = Content("the equal command line appears when nothing is wrong")
        else:
            line = printable(format_command(reading.command))
            text = Content.assemble("$ ", line if reading.missing else (line, "$foreground"))
        self.query_one("#command", Static).update(text)

    def show_status(self, reading: Reading, problems: Mapping[str, str], told: str, wrong: bool) -> None:
        """Say what keeps the training from starting; `told` goes before that."""
        if told:
            text = Content.styled(said(told), "$error" if wrong else "$accent")
        elif problems:
            named = [name for name in problems if name][:_MOST_NAMED]
            more = "" if len(named) == len(problems) else " …"
            number = f"✗ {len(problems)} problem{'s' if len(problems) > 1 else ''}"
            text = Content.styled(f"{number}: {', '.join(named)}{more}" if named else f"✗ {said(problems[''])}", "$error")
        elif reading.missing:
            text = Content.styled(f"fill in: {', '.join(reading.missing)}", "$warning")
        else:
            text = Content.styled("✓ ready", "$success")
        self.query_one("#status", Static).update(text, layout=False)
