"""What a training reports, and the one thing it asks: whether to stop. Its run's folder is one such observer."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tleg.errors import ExitCode, TlegError
from tleg.runs.control import stop_requested
from tleg.runs.events import EventWriter
from tleg.runs.payload import Report
from tleg.runs.processes import boot_id, hostname, start_ticks
from tleg.runs.reports import (
    CheckpointReport,
    DepthScore,
    DeviceReport,
    EvaluationReport,
    FinishReport,
    FinishState,
    StageReport,
    StartReport,
    WarningReport,
)
from tleg.runs.run import Presence, RunFolder
from tleg.runs.scalars import StepReport
from tleg.runs.state import RunState, write_state
from tleg.training.accuracy import Score
from tleg.training.checkpoint import checkpoint_name
from tleg.training.distributed import World
from tleg.training.process import StopSignals
from tleg.training.telemetry import DeviceSampler


class TrainingStoppedError(TlegError):
    """The training was asked to stop, and did: it can be resumed from its checkpoint."""

    default_code = "stopped"


class Observer:
    """Watches nothing and never stops. What watches a run overrides what it wants to know."""

    def stage(self, name: str, text: str, done: int | None = None, total: int | None = None) -> None:
        """Something that is no step has begun, or has come so far."""

    def started(self, step: int, steps: int, epochs: int) -> None:
        """Steps begin: so many are done already, of so many."""

    def stepped(self, report: StepReport) -> None:
        """A step is done; reported a few times a second at most."""

    def evaluated(self, step: int, epoch: int, weights: str, scores: Mapping[int | None, Score]) -> None:
        """The validation score by depth, of the 'model' or of its average, 'ema'."""

    def saved(self, step: int, name: str, seconds: float, size: int, best: bool) -> None:
        """A checkpoint of so many bytes is complete."""

    def warn(self, code: str, text: str, step: int | None = None) -> None:
        """Something to know that does not end the training."""

    def may_write(self) -> bool:
        """Whether the place of checkpoints and results is still there; where it is not, none is made."""
        return True

    def stop_requested(self) -> bool:
        """Whether to finish the step, save and end."""
        return False


QUIET = Observer()


def require_folder(observer: Observer) -> None:
    """Raise TrainingStoppedError where the folder that is to hold the result was removed or moved: it is not made again."""
    if not observer.may_write():
        raise TrainingStoppedError("stopped, because the folder of the run is gone")


def evaluation_progress(observer: Observer, text: str, world: World) -> Callable[[int, int], None]:
    """Return what reports how far an evaluation is, and leaves it with TrainingStoppedError when it is asked to stop.

    It is done again when the run resumes: what it evaluates is on the disk.
    """

    def count(done: int, total: int) -> None:
        observer.stage("evaluation", text, done, total)
        # The others would wait for this process's counts.
        if world.size == 1 and done < total and observer.stop_requested():
            raise TrainingStoppedError(f"stopped while {text}")

    return count


SECONDS_BETWEEN_SAMPLES: Final = 5.0
_SECONDS_BETWEEN_STATES: Final = 1.0


class RunObserver(Observer):
    """The observer of a run's main process. Its thread keeps the heartbeat going while nothing else is told."""

    def __init__(
        self, folder: RunFolder, writer: EventWriter, signals: StopSignals, *, world_size: int, batch_size: int
    ) -> None:
        self._folder, self._writer, self._signals = folder, writer, signals
        self._presence = Presence(folder)
        # torchrun starts the processes again when one dies, also when there is but one.
        launcher = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None
        self._state = RunState(
            state="starting",
            pid=os.getpid(),
            started=start_ticks(os.getpid()),
            host=hostname(),
            boot=boot_id(),
            launcher_pid=launcher,
            launcher_started=None if launcher is None else start_ticks(launcher),
            world_size=world_size,
            heartbeat=time.time(),
        )
        self._lock = threading.Lock()
        self._written_at = self._asked_at = float("-inf")
        self._stop = False
        self._batch_size = batch_size
        self._speed: float | None = None
        self._sampler: DeviceSampler | None = None
        self._about: dict[str, Any] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._pulse, daemon=True, name="pulse")
        self._change()

    @property
    def state(self) -> RunState:
        """The state as it was last told."""
        return self._state

    @property
    def away(self) -> str | None:
        """What happened to the run's folder, when it was removed or moved: from then on nothing is written there."""
        return self._presence.away()

    def watch_devices(self, sampler: DeviceSampler) -> None:
        """Sample the devices from now on."""
        self._sampler = sampler
        self._thread.start()

    def tell(self, report: Report) -> None:
        """Write an event."""
        if self.away is None:
            self._writer.report(report)

    def stage(self, name: str, text: str, done: int | None = None, total: int | None = None) -> None:
        """An event now and then, for counts; always for what begins or ends."""
        whole = done is None or done == total
        if whole or time.monotonic() - self._written_at >= _SECONDS_BETWEEN_STATES:
            self.tell(StageReport(name=name, text=text, done=done, total=total))
            self._change(message=text)

    def describe(self, about: Mapping[str, Any]) -> None:
        """Remember what the process and its device are, for the event that says that steps begin."""
        self._about = dict(about)

    def started(self, step: int, steps: int, epochs: int) -> None:
        """Steps begin."""
        source = checkpoint_name(step) if step else None
        self.tell(StartReport(step=step, steps=steps, epochs=epochs, resumed_from=source, **self._about))
        self._change(state="running", step=step, steps=steps, epochs=epochs, message=None)

    def stepped(self, report: StepReport) -> None:
        """The step as an event; the state once a second."""
        self.tell(report)
        if (speed := report.images_per_second) is not None:
            # Smoothed, so that the time to go does not jump.
            self._speed = speed if self._speed is None else 0.9 * self._speed + 0.1 * speed
        if report.step not in (1, report.steps) and time.monotonic() - self._written_at < _SECONDS_BETWEEN_STATES:
            with self._lock:
                self._state = replace(self._state, step=report.step, epoch=report.epoch)
            return
        self._change(
            state="stopping" if self._stop else "running",
            step=report.step,
            steps=report.steps,
            epoch=report.epoch,
            epochs=report.epochs,
            eta=self._seconds_to_go(report),
        )

    def _seconds_to_go(self, report: StepReport) -> float | None:
        if not self._speed or report.steps is None:
            return None
        return (report.steps - report.step) * self._batch_size / self._speed

    def evaluated(self, step: int, epoch: int, weights: str, scores: Mapping[int | None, Score]) -> None:
        """The scores as an event."""
        rows = tuple(
            DepthScore(
                depth=depth,
                top1=score.top1,
                top5=score.top5,
                loss=score.loss,
                images=score.images,
                nonfinite=score.nonfinite,
                cosine=score.cosine,
            )
            for depth, score in scores.items()
        )
        speed = next(iter(scores.values())).images_per_second
        self.tell(EvaluationReport(step=step, epoch=epoch, weights=weights, scores=rows, images_per_second=speed))

    def saved(self, step: int, name: str, seconds: float, size: int, best: bool) -> None:
        """The checkpoint as an event."""
        self.tell(CheckpointReport(step=step, name=name, seconds=seconds, bytes=size, best=best))

    def warn(self, code: str, text: str, step: int | None = None) -> None:
        """A warning, in the log as well."""
        print(f"warning: {text}", flush=True)
        self.tell(WarningReport(code=code, text=text, step=step))

    def may_write(self) -> bool:
        """Whether the run's folder is where it was."""
        return self.away is None

    def stop_requested(self) -> bool:
        """Whether a signal came, or the folder is gone, or somebody asked through it, which is looked at once a second."""
        if self._signals.received or self.away is not None:
            self._stop = True
        elif not self._stop and time.monotonic() - self._asked_at >= _SECONDS_BETWEEN_STATES:
            self._asked_at = time.monotonic()
            self._stop = stop_requested(self._folder)
        return self._stop

    def finish(self, state: FinishState, reason: str, exit_code: int, result: str | None = None) -> None:
        """The last event and the last state."""
        self._ended.set()
        step = self._state.step
        self.tell(FinishReport(state=state, reason=reason, exit_code=exit_code, step=step, result=result))
        self._change(state=state, message=reason, exit_code=exit_code, result=result, eta=None)

    def leave(self) -> str:
        """Say nothing more, because the folder is gone; return what happened to it, and what to do next.

        A folder that was moved has the last word where it is now: the event by the file that is open, the state by its path.
        """
        self._ended.set()
        away, moved = self.away or "was removed", self._presence.moved_to
        if moved is None:
            return f"the folder of run {self._folder.id} {away}; its training ends"
        reason = f"its folder {away}, and a training stays where it began"
        code, step = int(ExitCode.FAILED), self._state.step
        self._writer.report(FinishReport(state="stopped", reason=reason, exit_code=code, step=step))
        ended = replace(self._state, state="stopped", message=reason, exit_code=code, eta=None)
        write_state(moved, replace(ended, heartbeat=time.time()))
        return (
            f"the folder of run {self._folder.id} {away}; its training ends, and "
            f"`tleg resume {moved.path}` goes on from its last checkpoint"
        )

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self._state = replace(self._state, heartbeat=time.time(), **changes)
            self._written_at = time.monotonic()
            if self.away is None:
                write_state(self._folder, self._state)

    def _pulse(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_SAMPLES):
            if self._sampler is not None:
                self.tell(DeviceReport.read(time.time(), self._sampler.sample()))
            if time.monotonic() - self._written_at >= SECONDS_BETWEEN_SAMPLES and not self._ended.is_set():
                self._change()
