"""A run, live: where it stands, its curves, its devices, what happens, and what may be done to it."""

import asyncio
import os
import time
from dataclasses import replace
from typing import ClassVar, Final

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.events import Resize

from tleg.runs.follower import RunLook
from tleg.runs.run import RunFolder
from tleg.runs.text import format_reached, mean_of
from tleg.text import printable
from tleg_tui.actions import bindings
from tleg_tui.common.bars import TitleBar
from tleg_tui.common.lines import TextLines
from tleg_tui.common.wording import last_part
from tleg_tui.run.charts import RunCharts, View
from tleg_tui.run.control import RunControl, possible
from tleg_tui.run.curve import Drawing
from tleg_tui.run.devices import DeviceLines
from tleg_tui.run.events_log import EventsPanel, LogPanel, happenings
from tleg_tui.run.status import FiguresLine, ProgressLine, StatusLine
from tleg_tui.run.watching import RunLooked, RunWatch, Watched

# After a stop was asked for so long ago, killing is offered.
PATIENCE_SECONDS: Final = 20.0
# Between two looks at a run that ended: somebody may resume it.
_SECONDS_WHEN_ENDED: Final = 1.0
# While a long history is read: between two that are shown, and the breath after each piece that leaves room for keys.
_SECONDS_WHEN_READING: Final = 0.5
_BREATH_SECONDS: Final = 0.002
# Terminals whose fonts lack braille.
_PLAIN_TERMINALS: Final = ("linux", "vt100", "vt220")


class RunScreen(RunControl):
    """One run as it is now. It only reads; whatever is shown here, the run goes on."""

    SCOPE = "run"
    NAME = "run"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("run")]
    DEFAULT_CSS = """
    RunScreen #run-legend { height: 1; padding: 0 1; display: none; }
    RunScreen #run-below { height: 8; layout: vertical; }
    RunScreen #run-below EventsPanel { height: 1fr; }
    RunScreen #run-below LogPanel { height: 1fr; }
    RunScreen #run-below LogPanel.-empty { height: 1; }
    RunScreen.-tall #run-below { height: 12; }
    RunScreen.-wide #run-below { layout: horizontal; height: 6; }
    RunScreen.-wide #run-below LogPanel.-empty { height: 1fr; }
    RunScreen.-wide.-tall #run-below { height: 9; }
    """

    def __init__(self, folder: RunFolder, compare: RunFolder | None = None) -> None:
        super().__init__(folder)
        self._compared = compare
        self._other: Watched | None = None
        self._view = View()
        self._awake = asyncio.Event()
        self._hint = False
        self._patience_began = False

    def compose_body(self) -> ComposeResult:
        """From what is read from afar down to the details."""
        yield StatusLine(id="run-status")
        yield ProgressLine(id="run-progress")
        yield TextLines(id="run-legend")
        yield RunCharts(self._drawing(), id="run-charts")
        yield FiguresLine(id="run-figures")
        yield DeviceLines(id="run-devices")
        with Container(id="run-below"):
            yield EventsPanel(id="run-events")
            yield LogPanel(id="run-log")

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(TitleBar).title = f"run {printable(self.folder.id)}"
        self._awake.set()
        self._watch_run(self.folder)
        if self._compared is not None:
            self._watch_run(self._compared)

    def on_screen_suspend(self) -> None:
        """Look no more while another screen is on top."""
        self._awake.clear()

    def on_screen_resume(self) -> None:
        """Look again."""
        self._awake.set()

    def _drawing(self) -> Drawing:
        if self.host.ascii:
            return "ascii"
        return "block" if os.environ.get("TERM", "") in _PLAIN_TERMINALS else "braille"

    # Looking.

    @work(exit_on_error=False)
    async def _watch_run(self, folder: RunFolder) -> None:
        """Look at a run again and again, on a thread; what is new comes as a message."""
        watch = RunWatch(folder, log=folder is self.folder)
        look: RunLook | None = None
        lines: list[str] = []
        shown = float("-inf")
        while folder in (self.folder, self._compared):
            await self._awake.wait()
            seen = await asyncio.to_thread(watch.look)
            if seen is not None:
                look = seen.look
                lines += seen.lines
                # A long history goes by faster than anybody looks.
                if look.complete or time.monotonic() - shown >= _SECONDS_WHEN_READING:
                    self.post_message(RunLooked(replace(seen, lines=tuple(lines))))
                    lines, shown = [], time.monotonic()
            pause = self.host.refresh_seconds
            if look is not None and (look.ended or look.gone):
                pause = max(pause, _SECONDS_WHEN_ENDED)
            await asyncio.sleep(pause if look is None or look.complete else _BREATH_SECONDS)

    def on_run_looked(self, message: RunLooked) -> None:
        """Show what is new."""
        if not self.is_mounted:
            return
        if message.seen.look.folder == self.folder:
            before, self._seen = self._seen, message.seen
            if before is not None and before.look.ended != message.seen.look.ended:
                self.host.look_at_runs()  # The title bar says at once what is known here.
            self._mind_the_stop()
            self._show(message.seen)
            if possible(before) != possible(message.seen):
                self.refresh_bindings()
        elif message.seen.look.folder == self._compared:
            self._other = message.seen
            self._show_curves()

    def _mind_the_stop(self) -> None:
        """Offer to kill a run that was asked to stop and does not."""
        stopping = self._stopping
        if stopping and not self._patience_began:
            self._patience_began = True
            self.set_timer(PATIENCE_SECONDS, self._lose_patience)
        elif not stopping:
            self._patience_began = self._hint = False

    def _lose_patience(self) -> None:
        if self._stopping and self._seen is not None:
            self._hint = True
            self._show(self._seen)

    # Showing.

    def _show(self, seen: Watched) -> None:
        look = seen.look
        self.query_one(StatusLine).show(look, asked_to_stop=self._stopping, kill_hint=self._hint)
        self.query_one(ProgressLine).show(look)
        self.query_one(DeviceLines).show(look.snapshot.device, tall=self.has_class("-tall"), ended=look.ended or look.gone)
        self.query_one(EventsPanel).show(happenings(look.snapshot, look.broken, look.broken_at))
        self.query_one(LogPanel).add(seen.lines)
        self._seen = replace(seen, lines=())
        self._show_curves()

    def _show_curves(self) -> None:
        if self._seen is None:
            return
        snapshot = self._seen.look.snapshot
        other = None if self._other is None else self._other.look
        charts = self.query_one(RunCharts)
        learns = self._seen.spec is not None and self._seen.spec.kind == "learn"
        charts.show(snapshot, None if other is None else other.snapshot, self._view, by_depth=learns)
        self.query_one(FiguresLine).show(snapshot, charts.shown)
        legend = self.query_one("#run-legend", TextLines)
        if legend.display != (other is not None):
            legend.display = other is not None
        if other is not None:
            best = other.snapshot.best
            figure = format_reached(best, decimals=1).removesuffix(" %")
            reached = f", best {figure}{mean_of(best)}" if best is not None and figure else ""
            reached += self._other_data()
            own, dotted = ("*", "+") if self.host.ascii else ("⠒⠒", "⠂⠂")
            legend.say(
                Content.assemble(
                    (f"{own} ", "$primary"),
                    "this run   ",
                    (f"{dotted} ", "$warning"),
                    f"{printable(other.folder.id)} ",
                    (f"({'gone' if other.gone else other.state.state}{reached})", "$foreground-muted"),
                )
            )

    def _other_data(self) -> str:
        """On which data the other run is evaluated, where that is another set: then accuracies are not to be compared."""
        specs = [None if seen is None else seen.spec for seen in (self._seen, self._other)]
        own, other = (None if spec is None else spec.recipe.get("data") for spec in specs)
        if own == other or not isinstance(own, str) or not isinstance(other, str):
            return ""
        return f" on other data: {printable(last_part(other))}"

    def on_resize(self, event: Resize) -> None:
        """What depends on the size is made anew."""
        if self._seen is not None:
            self.call_after_refresh(self._show, self._seen)

    # What can be done.

    def waits_for(self, key: str) -> bool:
        """What a key does depends on where the run stands; of a long history the first piece is enough."""
        return self._seen is None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What makes sense now."""
        if action == "compare":
            return self._compared is not None or any(row.folder.path != self.folder.path for row in self.host.runs.rows)
        if action == "next_charts":
            return self.is_mounted and self.query_one(RunCharts).turns
        if action in ("log_scale", "smooth", "zoom"):
            return self._seen is not None and bool(self._seen.look.snapshot.curve.points)
        if action == "follow":
            return self.is_mounted and not all(panel.tail.following for panel in self._panels)
        return super().check_action(action, parameters)

    def why_not(self, action: str) -> str:
        """What is missing."""
        if action == "compare":
            return "there is no other run to compare with"
        if action == "next_charts":
            return "all curves are shown"
        if action in ("log_scale", "smooth", "zoom"):
            return "there is no curve yet: the run has made no step"
        if action == "follow":
            return "log and events follow their ends already"
        return super().why_not(action)

    @property
    def _panels(self) -> tuple[EventsPanel, LogPanel]:
        return self.query_one(EventsPanel), self.query_one(LogPanel)

    def action_next_charts(self) -> None:
        """Show other curves."""
        self.query_one(RunCharts).turn()
        self._show_curves()

    def action_zoom(self) -> None:
        """Show another part of the steps."""
        self._change_view(self._view.next_zoom())

    def action_log_scale(self) -> None:
        """Change the scale of the loss."""
        self._change_view(replace(self._view, log=not self._view.log))

    def action_smooth(self) -> None:
        """Change the smoothing."""
        self._change_view(self._view.next_smoothing())

    def _change_view(self, view: View) -> None:
        self._view = view
        self._show_curves()

    def action_focus_log(self) -> None:
        """Scroll in the log."""
        self._scroll_in(self.query_one(LogPanel), "the log is empty: the trainer has printed nothing")

    def action_focus_events(self) -> None:
        """Scroll in the events."""
        self._scroll_in(self.query_one(EventsPanel), "nothing has happened yet")

    def _scroll_in(self, panel: EventsPanel | LogPanel, empty: str) -> None:
        if panel.tail.lines:
            panel.tail.focus()
        else:
            self.host.tell(empty)

    def action_follow(self) -> None:
        """Follow the ends again."""
        for panel in self._panels:
            panel.tail.action_follow()

    def action_compare(self) -> None:
        """Choose another run, or take it away."""
        if self._compared is not None:
            self._compared = self._other = None
            self.query_one("#run-legend").display = False
            self._show_curves()
            self.refresh_bindings()
            return
        from tleg_tui.common.dialogs import PickRunScreen

        rows = [row for row in self.host.runs.rows if row.folder.path != self.folder.path]
        self.app.push_screen(PickRunScreen("Compare with", rows), self._compare)

    def _compare(self, folder: RunFolder | None) -> None:
        if folder is not None:
            self._compared = folder
            self._watch_run(folder)
            self.refresh_bindings()
