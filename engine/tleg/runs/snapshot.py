"""A run as a value: what its events amount to, in memory that does not grow with the run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tleg.runs.best import best_of
from tleg.runs.curve import Curve, CurveBuilder
from tleg.runs.events import NO_CHECKPOINT, Event
from tleg.runs.reports import (
    CheckpointReport,
    EvaluationReport,
    FinishReport,
    StageReport,
    StartReport,
    StepReport,
    WarningReport,
    integer,
    number,
    read_checkpoint,
    read_evaluation,
    read_finish,
    read_stage,
    read_start,
    read_step,
    read_warning,
    text,
)

# How many of each are remembered, the latest first to stay.
MOST_EVALUATIONS: Final = 4096
MOST_CHECKPOINTS: Final = 1024
MOST_MESSAGES: Final = 256


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """What the events so far amount to.

    events         how many
    t              Unix time of the last one
    start          the trainer at work, or the last that was
    resumptions    the starts after the first, oldest first
    stage          what happens outside of steps; None while steps are made
    step           the latest report of a step; None before the first one since the run began or went back before it
    curve          loss, gradient norm, images per second and learning rate by step
    evaluations    oldest first
    best           the evaluation of the weights that are kept (their average, where there is one) with the highest mean top1
                   over its depths, of equals the latest: that of the checkpoint that is kept as the best. One whose
                   checkpoint could not be written does not count
    unsaved        steps whose checkpoint could not be written
    checkpoints    oldest first
    warnings, warning_count  the latest ones, and how many there were in all
    log            the latest lines
    device         the latest sample of devices and host, as the payload of its event
    finish         how the trainer ended; None while it is at work
    """

    events: int = 0
    t: float | None = None
    start: StartReport | None = None
    resumptions: tuple[StartReport, ...] = ()
    stage: StageReport | None = None
    step: StepReport | None = None
    curve: Curve = field(default_factory=Curve)
    evaluations: tuple[EvaluationReport, ...] = ()
    best: EvaluationReport | None = None
    unsaved: frozenset[int] = frozenset()
    checkpoints: tuple[CheckpointReport, ...] = ()
    warnings: tuple[WarningReport, ...] = ()
    warning_count: int = 0
    log: tuple[str, ...] = ()
    device: Mapping[str, Any] = field(default_factory=dict)
    finish: FinishReport | None = None


def fold(snapshot: RunSnapshot, events: Iterable[Event]) -> RunSnapshot:
    """Return the snapshot after more events: the same however they are divided among calls.

    Unknown types count, and change nothing else. A run that went on from a checkpoint forgets the curve, the evaluations
    and the checkpoints behind it, because those steps come again.
    """
    folding = _Folding(snapshot)
    for event in events:
        folding.add(event)
    return folding.finish()


class _Folding:
    """A snapshot while events are added."""

    def __init__(self, snapshot: RunSnapshot) -> None:
        self._before = snapshot
        self._count = snapshot.events
        self._t = snapshot.t
        self._curve = CurveBuilder(snapshot.curve)
        self._step_event: Event | None = None
        self._changes: dict[str, Any] = {}

    def add(self, event: Event) -> None:
        self._count += 1
        self._t = event.t
        payload = event.payload
        if event.type == "step":
            step = integer(payload, "step")
            if step is None or step < 0:
                return
            self._curve.add(
                step,
                number(payload, "loss"),
                number(payload, "gradient_norm"),
                number(payload, "images_per_second"),
                number(payload, "learning_rate"),
            )
            self._step_event = event
            return
        handle = _HANDLERS.get(event.type)
        if handle is not None:
            handle(self, event.t, payload)

    def finish(self) -> RunSnapshot:
        self._take_step()
        return replace(self._before, events=self._count, t=self._t, curve=self._curve.finish(), **self._changes)

    def get(self, name: str) -> Any:
        return self._changes[name] if name in self._changes else getattr(self._before, name)

    def _take_step(self) -> None:
        """Read the latest step alone; of those before it the curve knows what is needed."""
        if self._step_event is not None:
            step = read_step(self._step_event.t, self._step_event.payload)
            self._changes |= {"step": step, "stage": None, "finish": None}
            self._step_event = None

    def started(self, t: float, payload: Mapping[str, Any]) -> None:
        self._take_step()
        start = read_start(t, payload)
        if self.get("start") is not None:
            self._changes["resumptions"] = (*self.get("resumptions"), start)[-MOST_MESSAGES:]
        self._changes |= {"start": start, "finish": None, "stage": None}
        self._curve.cut(start.step)
        step = self.get("step")
        if step is not None and step.step > start.step:
            self._changes["step"] = None
        evaluations = tuple(each for each in self.get("evaluations") if each.step <= start.step)
        self._changes["evaluations"] = evaluations
        self._changes["unsaved"] = frozenset(step for step in self.get("unsaved") if step <= start.step)
        best = self.get("best")
        if best is not None and best.step > start.step:
            self._choose_best(evaluations)
        self._changes["checkpoints"] = tuple(each for each in self.get("checkpoints") if each.step <= start.step)

    def stage(self, t: float, payload: Mapping[str, Any]) -> None:
        self._take_step()
        # Also the first sign of a trainer that goes on after an earlier one ended.
        self._changes |= {"stage": read_stage(t, payload), "finish": None}

    def evaluation(self, t: float, payload: Mapping[str, Any]) -> None:
        report = read_evaluation(t, payload)
        self._changes["evaluations"] = (*self.get("evaluations"), report)[-MOST_EVALUATIONS:]
        self._choose_best((*filter(None, (self.get("best"),)), report))

    def checkpoint(self, t: float, payload: Mapping[str, Any]) -> None:
        report = read_checkpoint(t, payload)
        self._changes["checkpoints"] = (*self.get("checkpoints"), report)[-MOST_CHECKPOINTS:]
        if report.step in self.get("unsaved"):
            self._changes["unsaved"] = self.get("unsaved") - {report.step}
            self._choose_best(self.get("evaluations"))

    def _choose_best(self, evaluations: Iterable[EvaluationReport]) -> None:
        every = list(evaluations)
        kept = [each for each in every if each.weights == "ema"] or every
        unsaved = self.get("unsaved")
        self._changes["best"] = best_of((each.top1, each.step, each) for each in kept if each.step not in unsaved)

    def device(self, _t: float, payload: Mapping[str, Any]) -> None:
        self._changes["device"] = payload

    def warning(self, t: float, payload: Mapping[str, Any]) -> None:
        report = read_warning(t, payload)
        self._changes["warnings"] = (*self.get("warnings"), report)[-MOST_MESSAGES:]
        self._changes["warning_count"] = self.get("warning_count") + 1
        if report.code == NO_CHECKPOINT and report.step is not None:
            self._changes["unsaved"] = self.get("unsaved") | {report.step}
            self._choose_best(self.get("evaluations"))

    def log(self, _t: float, payload: Mapping[str, Any]) -> None:
        self._changes["log"] = (*self.get("log"), text(payload, "text") or "")[-MOST_MESSAGES:]

    def finished(self, t: float, payload: Mapping[str, Any]) -> None:
        self._take_step()
        self._changes |= {"finish": read_finish(t, payload), "stage": None}


_HANDLERS: Final = {
    "started": _Folding.started,
    "stage": _Folding.stage,
    "evaluation": _Folding.evaluation,
    "checkpoint": _Folding.checkpoint,
    "device": _Folding.device,
    "warning": _Folding.warning,
    "log": _Folding.log,
    "finished": _Folding.finished,
}
