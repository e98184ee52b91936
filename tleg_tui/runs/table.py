"""The table of runs: a line each, the newest first; and what stands in its place where there is none."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tleg.runs.state import RunState
from tleg.runs.text import format_progress, format_top1
from tleg.text import GLYPHS, printable
from tleg_tui.actions import bindings
from tleg_tui.common.cells import fit, fit_ends, sparkline, with_cursor
from tleg_tui.common.wording import last_part
from tleg_tui.run_list import RunList, RunRow

_MADE_ID: Final = re.compile(r"\d{6}-\d{6}-(?=.)")


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run as it is written: figures are texts, so that a line that reads the same is not painted again."""

    key: Path
    state: str
    cells: dict[str, str]
    losses: tuple[float | None, ...]


def run_line(row: RunRow, now: float) -> RunLine:
    """Return a run as a line, `now` being Unix time."""
    state = row.look.state
    cells = {
        "state": f"{GLYPHS[row.state]} {row.state}",
        "name": printable(short_name(row.id)),
        "run": printable(row.id),
        "kind": row.spec.kind,
        "data": printable(data_of(row)),
        "from": printable(origin_of(row)),
        "epochs": format_epochs(state),
        "top-1": format_top1(row.look.snapshot.best),
        "left": coarse(state.eta) if row.state == "running" and state.eta is not None else "",
        "age": coarse(now - row.spec.created),
    }
    return RunLine(row.folder.path, row.state, cells, row.losses)


def short_name(identity: str) -> str:
    """What of a run's id a person gave it: without the date and the time before it."""
    return _MADE_ID.sub("", identity, count=1)


def matches(row: RunRow, words: Sequence[str]) -> bool:
    """Whether all words, in small letters, stand in a run's id, kind, state, data or origin."""
    text = f"{row.id} {row.spec.kind} {row.state} {row.recipe_value('data')} {origin_of(row)}".lower()
    return all(word in text for word in words)


def data_of(row: RunRow) -> str:
    """The data set, a folder by its name."""
    text = row.recipe_value("data")
    return last_part(text) if isinstance(text, str) else ""


def origin_of(row: RunRow) -> str:
    """What a run starts from: 'gene at depth 8' for a learngene at a depth, a model, a checkpoint, or the teacher."""
    value = row.recipe_value
    learngene = value("learngene")
    if isinstance(learngene, str):
        name = _without_suffix(last_part(learngene))
        return name if value("depth") is None else f"{name} at depth {value('depth')}"
    names: tuple[Any, ...] = (value("teacher"),) if row.spec.kind == "learn" else (value("checkpoint"), value("model"))
    given = next((each for each in names if isinstance(each, str) and each), None)
    if given is not None:
        return f"teacher {last_part(given)}" if row.spec.kind == "learn" else last_part(given)
    architecture = value("architecture")
    return architecture if isinstance(architecture, str) else ""


def format_epochs(state: RunState) -> str:
    """How far a run is: '3.2/20', in epochs; nothing before its first step."""
    return format_progress(state).removesuffix(" epochs")


def coarse(seconds: float) -> str:
    """Write a time so that it seldom changes: '<1 min', '12 min', '5 h', '3 d'."""
    if seconds < 60:
        return "<1 min"
    if seconds < 3600:
        return f"{int(seconds // 60)} min"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86400)} d"


def _without_suffix(text: str) -> str:
    return text.removesuffix(".safetensors")


_MOST_NAMED: Final = 2


def empty_text(runs: RunList, words: tuple[str, ...]) -> Content:
    """What stands where the table would be: why there is nothing, and what to press next."""
    if not runs.read:
        return Content.styled("looking at the runs…", "$foreground-muted")
    if runs.rows and words:
        return Content.assemble("No run has these words.  ", ("esc", "bold $accent"), " shows all of them again.")
    if runs.errors:
        return Content("")
    return Content.assemble(
        ("No runs yet.\n\n", "bold"),
        "Every training is a run, and goes on when you leave. To start one, go back to the workbench with ",
        ("esc", "bold $accent"),
        ", then press\n\n  ",
        ("f", "bold $accent"),
        "  to fine-tune the chosen depth on your data\n  ",
        ("l", "bold $accent"),
        "  to train an auxiliary model and keep its learngene",
    )


def skipped_text(runs: RunList) -> str:
    """'2 folders are no runs: …', with the first reasons."""
    count = len(runs.skipped)
    if not count:
        return ""
    reasons = [f"{each.path.name}: {each.reason}" for each in runs.skipped[:_MOST_NAMED]]
    more = f"; and {count - _MOST_NAMED} more" if count > _MOST_NAMED else ""
    noun = "folder is no run or a damaged one" if count == 1 else "folders are no runs or damaged ones"
    return f"{count} {noun}: {'; '.join(reasons)}{more}"


_POINTER: Final = 3  # ' ▸ ', or a mark
_LEAST_NAME: Final = 12


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: which cell it shows, its width, and whether figures stand at its right end."""

    cell: str
    title: str
    width: int
    right: bool = False


def columns(width: int) -> tuple[_Column, ...]:
    """Return the columns of a table of this width, whatever is left over given to the name."""
    wide, huge = width >= 108, width >= 150
    shown = [
        _Column("state", "state", 10),
        _Column("run" if wide else "name", "run", 0),
        *([_Column("kind", "kind", 8)] if wide else []),
        # Accuracies stand side by side: on which data each was reached is said wherever there is room.
        *([_Column("data", "data", 16 if huge else 13)] if wide else []),
        *([_Column("from", "from", 26)] if huge else []),
        _Column("epochs", "epochs", 8, right=True),
        _Column("loss", " loss", 17 if huge else 13 if wide else 9 if width >= 72 else 8),
        _Column("top-1", "top-1", 7, right=True),
        *([_Column("left", "left", 6, right=True)] if width >= 72 else []),
        _Column("age", "age", 6, right=True),
    ]
    rest = width - _POINTER - sum(column.width + 1 for column in shown)
    return tuple(
        _Column(column.cell, column.title, max(rest, _LEAST_NAME)) if column.width == 0 else column for column in shown
    )


_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "running": "good",
        "finished": "good",
        "stopping": "care",
        "stopped": "care",
        "failed": "bad",
        "lost": "bad",
    }
)


class RunHeader(Widget):
    """The titles over the table's columns."""

    DEFAULT_CSS = "RunHeader { height: 1; color: $text-muted; text-style: bold; }"

    def render(self) -> str:
        """The titles, in the columns of the table below."""
        titles = (
            f"{column.title:>{column.width}}" if column.right else f"{column.title:<{column.width}}"
            for column in columns(self.size.width - 1)
        )
        return " " * _POINTER + " ".join(titles)


class RunTable(ScrollView, can_focus=True):
    """Lines with a cursor that stays on its run, whatever comes in above. Only lines that read differently are repainted."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("run_table")]
    _NAMES: ClassVar[tuple[str, ...]] = ("plain", "muted", "good", "care", "bad", "curve", "mark", "cursor")
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"run-table--{name}" for name in _NAMES}
    DEFAULT_CSS = """
    RunTable { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    RunTable .run-table--plain { color: $foreground; }
    RunTable .run-table--muted { color: $text-muted; }
    RunTable .run-table--good { color: $success; }
    RunTable .run-table--care { color: $warning; }
    RunTable .run-table--bad { color: $error; }
    RunTable .run-table--curve { color: $primary; }
    RunTable .run-table--mark { color: $accent; text-style: bold; }
    RunTable .run-table--cursor { background: $block-cursor-blurred-background; text-style: bold; }
    RunTable:focus .run-table--cursor { background: $primary 30%; text-style: bold; }
    RunTable:ansi:focus .run-table--cursor { background: ansi_default; text-style: bold reverse; }
    """

    class Chosen(Message):
        """The cursor moved to another run, or its run is gone."""

        def __init__(self, key: Path | None) -> None:
            super().__init__()
            self.key = key

    class Opened(Message):
        """A run was clicked twice."""

    def __init__(self, *, plain: bool = False, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._lines: tuple[RunLine, ...] = ()
        self._place = 0
        self._marked: Path | None = None
        self._plain = plain
        self._columns: tuple[_Column, ...] = ()

    @property
    def chosen(self) -> Path | None:
        """The run that the cursor is on."""
        return self._lines[self._place].key if self._lines else None

    @property
    def lines(self) -> tuple[RunLine, ...]:
        """The lines that are shown."""
        return self._lines

    def show(self, lines: Sequence[RunLine], marked: Path | None, *, first: bool = False) -> None:
        """Show other lines. The cursor follows its run; where that is gone it stays in its place, or goes to the `first`."""
        before, old_place, chosen = self._lines, self._place, self.chosen
        self._lines = tuple(lines)
        places = {line.key: place for place, line in enumerate(self._lines)}
        otherwise = 0 if first else old_place
        place = otherwise if chosen is None else places.get(chosen, otherwise)
        self._place = max(min(place, len(self._lines) - 1), 0)
        repaint_all = marked != self._marked
        self._marked = marked
        if [line.key for line in before] != [line.key for line in self._lines]:
            self.virtual_size = Size(0, len(self._lines))
            if before and self._place != old_place and self.scroll_offset.y > 0:
                # What is in sight stays where it is.
                self.scroll_to(y=self.scroll_offset.y + self._place - old_place, animate=False, force=True)
            repaint_all = True
        if repaint_all:
            self.refresh()
        else:
            for at, (old, new) in enumerate(zip(before, self._lines, strict=True)):
                if old != new:
                    self.refresh_line(at)
        if self.chosen != chosen:
            self.post_message(self.Chosen(self.chosen))

    def action_move(self, count: int) -> None:
        """Move the cursor."""
        self._move_to(self._place + count)

    def action_page(self, direction: int) -> None:
        """Move by what is in sight."""
        self._move_to(self._place + direction * max(self.scrollable_content_region.height - 1, 1))

    def action_edge(self, direction: int) -> None:
        """Move to the first or the last run."""
        self._move_to(direction * len(self._lines))

    def on_click(self, event: events.Click) -> None:
        """Choose the run under the mouse; twice opens it."""
        place = event.y + round(self.scroll_offset.y)
        if place < len(self._lines):
            self._move_to(place)
            if event.chain == 2:
                self.post_message(self.Opened())

    def _move_to(self, place: int) -> None:
        place = max(min(place, len(self._lines) - 1), 0)
        if not self._lines or place == self._place:
            return
        for each in (self._place, place):
            self.refresh_line(each)
        self._place = place
        self.scroll_to_region(Region(0, place, 1, 1), animate=False, force=True)
        self.post_message(self.Chosen(self.chosen))

    def on_resize(self) -> None:
        """Other columns fit, and the cursor stays in sight."""
        self._columns = ()
        self.scroll_to_region(Region(0, self._place, 1, 1), animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        """One line of what is in sight."""
        place = y + round(self.scroll_offset.y)
        width = self.scrollable_content_region.width
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line = self._lines[place]
        styles = {name: self.get_component_rich_style(f"run-table--{name}") for name in self._NAMES}
        marked = line.key == self._marked
        chosen = place == self._place
        pointer = f"{'●' if marked else ' '}{'▸' if chosen else ' '} "
        segments = [Segment(pointer, styles["mark"])]
        self._columns = self._columns or columns(width)
        for column in self._columns:
            segments.append(self._cell(column, line, styles))
            segments.append(Segment(" ", styles["plain"]))
        strip = Strip(segments).adjust_cell_length(width, self.rich_style)
        return with_cursor(strip, styles["cursor"]) if chosen else strip

    def _cell(self, column: _Column, line: RunLine, styles: Mapping[str, Style]) -> Segment:
        if column.cell == "loss":
            return Segment(" " + sparkline(line.losses, column.width - 1, plain=self._plain), styles["curve"])
        text = line.cells[column.cell]
        if column.right:
            return Segment(f"{text:>{column.width}}", styles["muted" if column.cell == "age" else "plain"])
        name = _STYLES.get(line.state, "muted") if column.cell == "state" else "plain"
        if column.cell in ("kind", "data", "from"):
            name = "muted"
        cut = fit_ends if column.cell in ("name", "run", "from") else fit
        return Segment(cut(text, column.width), styles[name])
