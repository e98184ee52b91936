"""A run as a value: what its events amount to, its curves in bounded memory, its best evaluation."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from tleg.runs.events import NO_CHECKPOINT, Event
from tleg.runs.scalars import (
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

Item = TypeVar("Item")


def best_of(scored: Iterable[tuple[float | None, int, Item]]) -> Item | None:
    """Return the item with the highest score, of equals that of the latest step; None when none has a score.

    scored  (accuracy in percent, or None where it was not measured; step; item), in any order
    """
    known = [(score, step, item) for score, step, item in scored if score is not None]
    return max(known, key=lambda each: each[:2])[2] if known else None


MOST_POINTS: Final = 1024


@dataclass(frozen=True, slots=True)
class Spread:
    """Some values: how many, their sum, the least and the greatest."""

    count: int
    total: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The reports of neighbouring steps, `first` to `last`, with the last learning rate.

    None where a quantity had no finite value.
    """

    first: int
    last: int
    loss: Spread | None = None
    gradient_norm: Spread | None = None
    images_per_second: Spread | None = None
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """At most MOST_POINTS points. A point holds the steps from a multiple of `width` up to the next."""

    points: tuple[CurvePoint, ...] = ()
    width: int = 1


class CurveBuilder:
    """A curve while reports are added. What comes out does not depend on how they were divided among builders."""

    def __init__(self, curve: Curve) -> None:
        self._points = list(curve.points)
        self._width = curve.width

    def add(
        self, step: int, loss: float | None, gradient_norm: float | None, images_per_second: float | None, rate: float | None
    ) -> None:
        """Add the report of a step. Steps from this one on that are there already are replaced: the run went back."""
        points = self._points
        if points and points[-1].last >= step:
            self.cut(step - 1)
        if points and points[-1].first // self._width == step // self._width:
            last = points[-1]
            points[-1] = CurvePoint(
                last.first,
                step,
                _add(last.loss, loss),
                _add(last.gradient_norm, gradient_norm),
                _add(last.images_per_second, images_per_second),
                last.learning_rate if rate is None else rate,
            )
            return
        points.append(
            CurvePoint(step, step, _add(None, loss), _add(None, gradient_norm), _add(None, images_per_second), rate)
        )
        while len(self._points) > MOST_POINTS:
            self._width *= 2
            self._points = _merge(self._points, self._width)

    def cut(self, step: int) -> None:
        """Forget the points that lie behind a step as a whole, because the run goes on from there."""
        while self._points and self._points[-1].first > step:
            self._points.pop()
        if self._points and self._points[-1].last > step:
            # Its later reports cannot be taken out of it; they were of the same steps that come again.
            last = self._points[-1]
            self._points[-1] = CurvePoint(
                last.first, step, last.loss, last.gradient_norm, last.images_per_second, last.learning_rate
            )

    def finish(self) -> Curve:
        """Return the curve."""
        return Curve(tuple(self._points), self._width)


def _add(spread: Spread | None, value: float | None) -> Spread | None:
    if value is None:
        return spread
    if spread is None:
        return Spread(1, value, value, value)
    return Spread(
        spread.count + 1,
        spread.total + value,
        value if value < spread.low else spread.low,
        value if value > spread.high else spread.high,
    )


def _merge(points: Iterable[CurvePoint], width: int) -> list[CurvePoint]:
    merged: list[CurvePoint] = []
    for point in points:
        if merged and merged[-1].first // width == point.first // width:
            merged[-1] = _join(merged[-1], point)
        else:
            merged.append(point)
    return merged


def _join(left: CurvePoint, right: CurvePoint) -> CurvePoint:
    return CurvePoint(
        left.first,
        right.last,
        _join_spreads(left.loss, right.loss),
        _join_spreads(left.gradient_norm, right.gradient_norm),
        _join_spreads(left.images_per_second, right.images_per_second),
        left.learning_rate if right.learning_rate is None else right.learning_rate,
    )


def _join_spreads(left: Spread | None, right: Spread | None) -> Spread | None:
    if left is None or right is None:
        return right if left is None else left
    return Spread(left.count + right.count, left.total + right.total, min(left.low, right.low), max(left.high, right.high))


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
