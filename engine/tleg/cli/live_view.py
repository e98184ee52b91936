"""A run on a terminal, redrawn in place: what `tleg learn`, `tleg attach` and their like show."""

import os
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tleg.runs.events import Event
from tleg.runs.history import RunSnapshot
from tleg.runs.reports import DeviceSample
from tleg.runs.run import RunFolder
from tleg.runs.scalars import StepReport, live_figures
from tleg.runs.state import RunState
from tleg.runs.text import format_evaluation, format_reached, mean_of
from tleg.text import COLOURS, GLYPHS, format_bytes, format_duration, printable

_REFRESHES: Final = 4
_REFRESHES_OVER_SSH: Final = 1
_WARNINGS: Final = 2


def refreshes_a_second() -> int:
    """How often a terminal is redrawn: less over SSH, where every byte travels."""
    return _REFRESHES_OVER_SSH if "SSH_CONNECTION" in os.environ else _REFRESHES


class LiveView:
    """Shows a run until it is closed; what it showed last stays on the screen."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, snapshot: RunSnapshot, state: RunState, events: Sequence[Event]) -> None:
        """Draw the run as it is now."""
        self._live.update(Group(*render_run(self._folder.id, snapshot, state)), refresh=True)

    def line(self, text: str) -> None:
        """Print a line above."""
        self._live.console.print(Text(text))


def render_run(run: str, snapshot: RunSnapshot, state: RunState) -> Iterator[RenderableType]:
    """Yield the lines of a run: state, progress, numbers, evaluations, device, warnings. 80 columns are enough."""
    colour = COLOURS.get(state.state, "default")
    yield Text.assemble((f"{GLYPHS[state.state]} {state.state}", f"bold {colour}"), "  ", printable(run))
    if snapshot.step is not None and snapshot.step.steps:
        yield from _render_step(snapshot.step, state)
    if snapshot.stage is not None and not state.terminal:
        count = "" if snapshot.stage.total is None else f" {snapshot.stage.done}/{snapshot.stage.total}"
        yield Text(f"{printable(snapshot.stage.text)}{count}", style="dim")
    if snapshot.evaluations:
        yield Text(format_evaluation(snapshot.evaluations[-1]))
    if snapshot.best is not None and snapshot.best.monitored is not None and len(snapshot.evaluations) > 1:
        yield Text(
            f"best: {format_reached(snapshot.best)}{mean_of(snapshot.best)}, after epoch {snapshot.best.epoch}", style="dim"
        )
    for device in () if snapshot.device is None else snapshot.device.devices:
        yield Text(_describe_device(device), style="dim")
    for warning in snapshot.warnings[-_WARNINGS:]:
        yield Text(f"! {printable(warning.text)}", style="yellow")
    if state.state in ("starting", "running"):
        yield Text("Ctrl-C: stop it, or leave it running", style="dim")


def _render_step(step: StepReport, state: RunState) -> Iterator[RenderableType]:
    assert step.steps is not None
    row = Table.grid(padding=(0, 1))
    left = f"{format_duration(state.eta)} to go" if state.eta is not None and step.step < step.steps else ""
    row.add_row(
        ProgressBar(total=step.steps, completed=step.step, width=20),
        Text(f"{100 * step.step / step.steps:.0f} %"),
        Text(f"epoch {step.epoch}/{step.epochs}"),
        Text(f"step {step.step}/{step.steps}", style="dim"),
        Text(left),
    )
    yield row
    yield Text("  ".join(live_figures(step)))


def _describe_device(device: DeviceSample) -> str:
    parts = [f"GPU {device.index} {printable(device.name or '')}"]
    for value, unit in ((device.utilisation, "%"), (device.temperature, "°C"), (device.power, "W")):
        if value is not None:
            parts.append(f"{value:.0f} {unit}")
    if device.memory_used is not None and device.memory_total is not None:
        parts.append(f"{format_bytes(device.memory_used)} of {format_bytes(device.memory_total)}")
    return "  ".join(parts)


def shows_glyphs() -> bool:
    """Whether stderr shows glyphs; an encoding without them gets plain lines."""
    try:
        "".join(GLYPHS.values()).encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
