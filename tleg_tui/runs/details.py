"""The chosen run in a few lines."""

import shlex
from pathlib import Path
from textwrap import wrap
from typing import Final

from textual.content import Content
from textual.widgets import Static

from tleg.runs.text import format_reached, mean_of
from tleg.text import GLYPHS, format_bytes, printable
from tleg_tui.common.wording import noted
from tleg_tui.run_list import STATE_COLOURS, RunRow
from tleg_tui.runs.table import data_of, origin_of

_LABEL: Final = 12


class RunDetails(Static):
    """Drawn anew when what it says changes."""

    DEFAULT_CSS = "RunDetails { height: 8; padding: 0 3; border-top: solid $panel; } .-tall RunDetails { height: 9; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._row: RunRow | None = None
        self._place = Path()
        self._text: str | None = None

    def show(self, row: RunRow | None, place: Path) -> None:
        """Show another run. One that lies in another folder than `place` says where."""
        self._row, self._place = row, place
        self._draw()

    def on_resize(self) -> None:
        """The command takes as many lines as there are."""
        self._draw()

    def _draw(self) -> None:
        width, height = self.content_size
        if self._row is None or width <= 0:
            return
        drawn = describe(self._row, self._place, width, height)
        if drawn.markup != self._text:
            self._text = drawn.markup
            self.update(drawn)


def describe(row: RunRow, place: Path, width: int, height: int) -> Content:
    """Return a run in lines of at most `width` cells: what it is, why it stands there, what it made."""
    state = row.look.state
    colour = STATE_COLOURS.get(row.state, "$foreground-muted")
    lines = [
        Content.assemble(
            (printable(row.id), "bold $accent"),
            (f"   {GLYPHS[row.state]} {row.state}", colour),
        ),
        *([_line("says", noted(state.message), colour if row.state in ("failed", "lost") else "")] if state.message else []),
        _line("trains", " · ".join(filter(None, (row.spec.kind, origin_of(row), data_of(row))))),
        *([_line("reached", reached)] if (reached := _best(row)) else []),
        _line("result", _result(row)),
        _line("checkpoint", _checkpoint(row)),
    ]
    if row.folder.path.parent.absolute() != place.absolute():
        lines.append(_line("folder", str(row.folder.path)))
    command = shlex.join(row.spec.command)
    lines = [line.truncate(width, ellipsis=True) for line in lines]
    lines += _command(command, width, max(height - len(lines), 1))
    return Content("\n").join(lines[:height])


def _line(label: str, text: str, colour: str = "") -> Content:
    return Content.assemble((f"{label:<{_LABEL}}", "$foreground-muted"), (printable(text), colour))


def _best(row: RunRow) -> str:
    best = row.look.snapshot.best
    if best is None or best.monitored is None:
        return ""
    epoch = "" if best.epoch is None else f", after epoch {best.epoch}"
    return f"best {format_reached(best, marked=True)}{mean_of(best)}{epoch}"


def _result(row: RunRow) -> str:
    if row.look.state.result is not None:
        return row.look.state.result
    return "–" if row.spec.output is None else f"will be put at {row.spec.output}"


def _checkpoint(row: RunRow) -> str:
    checkpoints = row.look.snapshot.checkpoints
    if not checkpoints:
        return "none yet"
    last = checkpoints[-1]
    size = "" if last.bytes is None else f", {format_bytes(last.bytes)}"
    return f"{last.name}, step {last.step}{size}"


def _command(command: str, width: int, lines: int) -> list[Content]:
    """The command on several lines, the last one cut short where it is longer."""
    room = max(width - _LABEL, 8)
    text = printable(command)
    parts = wrap(text, room, break_on_hyphens=False) or ["–"]
    if len(parts) > lines:
        parts = [*parts[: lines - 1], parts[lines - 1][: room - 1] + "…"]
    return [
        Content.assemble((f"{'command' if place == 0 else '':<{_LABEL}}", "$foreground-muted"), part)
        for place, part in enumerate(parts)
    ]
