"""Following a run in the foreground. The run is a process of its own: whatever happens to the one that looks, it goes on."""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from tleg.errors import ExitCode
from tleg.runs.control import request_stop
from tleg.runs.events import Event
from tleg.runs.follower import RunFollower
from tleg.runs.history import RunSnapshot
from tleg.runs.reports import EvaluationReport, WarningReport
from tleg.runs.run import RunFolder
from tleg.runs.scalars import StepReport
from tleg.runs.state import REMOVED, RunState
from tleg.runs.text import format_evaluation, format_step
from tleg.terminal import is_interactive, say
from tleg.text import printable

_SECONDS_BETWEEN_LOOKS: Final = 0.25
_SECONDS_BETWEEN_LINES: Final = 30.0
_LOG_LINES: Final = 8


class View(Protocol):
    """What shows a run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: RunSnapshot, state: RunState, events: Sequence[Event]) -> None:
        """Show the run as it is now, and what happened since the last look."""
        ...


class PlainView:
    """Lines on stderr, for logs and pipes: what happens, and a step now and then."""

    def __init__(self) -> None:
        self._state: str | None = None
        self._spoke_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def show(self, snapshot: RunSnapshot, state: RunState, events: Sequence[Event]) -> None:
        """Print what is new."""
        if state.state != self._state and state.state in ("queued", "starting", "running", "stopping"):
            say(state.state)
        self._state = state.state
        for event in events:
            report = event.read()
            if isinstance(report, EvaluationReport):
                say(format_evaluation(report))
            elif isinstance(report, WarningReport):
                say(f"warning: {printable(report.text)}")
            elif isinstance(report, StepReport) and self._speaks_of(report):
                say(format_step(report))

    def _speaks_of(self, report: StepReport) -> bool:
        """Whether a step is written: the first and the last, and one now and then."""
        now = time.monotonic()
        if report.step not in (1, report.steps) and now - self._spoke_at < _SECONDS_BETWEEN_LINES:
            return False
        self._spoke_at = now
        return True


def follow(folder: RunFolder) -> ExitCode:
    """Show a run until it ends and return its exit code; 130 when the one who looks leaves it running.

    Ctrl-C on a terminal asks whether to stop the run or to leave it; without one it leaves.
    """
    if sys.stdin.isatty() and threading.current_thread() is threading.main_thread():
        # A background shell starts its children deaf to Ctrl-C, also when they have a terminal.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    follower = RunFollower(folder)
    while True:
        view = _view(folder)
        try:
            with view:
                while True:
                    look = follower.look()
                    if look.gone:
                        say(f"tleg: run {folder.id}: {REMOVED}, or moved; what still trains there ends by itself")
                        return ExitCode.FAILED
                    view.show(look.snapshot, look.state, look.events)
                    if look.ended:
                        break
                    time.sleep(_pause())
            return explain_end(folder, look.state, look.snapshot)
        except KeyboardInterrupt:
            if not _stays(folder):
                return ExitCode.INTERRUPTED


def explain_end(folder: RunFolder, state: RunState, snapshot: RunSnapshot) -> ExitCode:
    """Say how a run ended, where that is not its result, and return its exit code."""
    if state.state == "finished":
        return ExitCode.DONE
    if state.state == "stopped":
        say(f"{state.message or 'stopped'}; `tleg resume {folder.id}` goes on")
        return ExitCode.DONE
    if state.state == "lost":
        last = snapshot.checkpoints[-1].step if snapshot.checkpoints else None
        kept = "it has no checkpoint yet" if last is None else f"its last checkpoint is of step {last}"
        how = "without a word (killed, out of memory, or a power cut)"
        if state.exit_code is not None and state.message:  # Another process of the run left its reason.
            how = f"({printable(state.message)})"
        say(f"tleg: the trainer of run {folder.id} ended {how}; {kept}. `tleg resume {folder.id}` goes on")
        _show_log(folder, snapshot)
        return ExitCode.FAILED
    say(f"tleg: {printable(state.message or 'the run failed')}")
    try:
        return ExitCode(state.exit_code or ExitCode.FAILED)
    except ValueError:
        return ExitCode.FAILED


def _show_log(folder: RunFolder, snapshot: RunSnapshot) -> None:
    """The last words of a trainer that never began."""
    if snapshot.start is not None:
        return
    try:
        with folder.log_file.open(encoding="utf-8", errors="replace") as file:
            lines = deque(file, _LOG_LINES)
    except OSError:
        return
    for line in lines:
        say(printable(line.rstrip("\n")))


def _view(folder: RunFolder) -> View:
    if not is_interactive(sys.stderr):
        return PlainView()
    from tleg.cli.live_view import LiveView, shows_glyphs

    return LiveView(folder) if shows_glyphs() else PlainView()


def _pause() -> float:
    if not is_interactive(sys.stderr):
        return _SECONDS_BETWEEN_LOOKS
    from tleg.cli.live_view import refreshes_a_second

    return 1 / refreshes_a_second()


def _stays(folder: RunFolder) -> bool:
    """Ask what Ctrl-C meant; True to go on watching, as one does until a stopped run has saved."""
    come_back = f"run {folder.id} goes on; `tleg attach {folder.id}` shows it, `tleg stop {folder.id}` ends it"
    if not (is_interactive(sys.stderr) and sys.stdin.isatty()):
        say(come_back)
        return False
    try:
        print("\n[s] stop it and save   [l] leave it running   [c] continue watching: ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip().lower()[:1]
    except KeyboardInterrupt:
        print(file=sys.stderr)
        answer = "l"
    if answer == "s":
        request_stop(folder)
        say("stopping: it finishes its step and saves")
        return True
    if answer == "c":
        return True
    say(come_back)
    return False
