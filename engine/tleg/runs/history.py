"""A run as a value: what its events amount to, its curves in bounded memory, its best evaluation."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from tleg.runs.events import NO_CHECKPOINT, Event
from tleg.runs.payload import integer, number
from tleg.runs.reports import (
    CheckpointReport,
    DeviceReport,
    EvaluationReport,
    FinishReport,
    LogReport,
    StageReport,
    StartReport,
    WarningReport,
)
from tleg.runs.scalars import SCALARS, StepReport

Item = TypeVar("Item")


def best_of(scored: Iterable[tuple[float | None, int, Item]]) -> Item | None:
    """Return the item with the highest score, of equals that of the latest step; None when none has a score.

    scored  (accuracy in percent or cosine, or None where it was not measured; step; item), in any order
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
    """The reports of neighbouring steps, `first` to `last`.

    values  by the name of a step scalar (`tleg.runs.scalars`); one that had no finite value is missing. Of a scalar whose
            last value alone counts, such as the learning rate, that is one value
    """

    first: int
    last: int
    values: Mapping[str, Spread] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Curve:
    """At most MOST_POINTS points. A point holds the steps from a multiple of `width` up to the next."""

    points: tuple[CurvePoint, ...] = ()
    width: int = 1


@dataclass(slots=True)
class _Sum:
    """A spread while values are added."""

    count: int
    total: float
    low: float
    high: float

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value


class CurveBuilder:
    """A curve while reports are added. What comes out does not depend on how they were divided among builders."""

    def __init__(self, curve: Curve) -> None:
        self._points = list(curve.points)  # Closed, and after them the one that grows: most reports fall into that one.
        self._width = curve.width
        self._first = self._last = -1
        self._sums: dict[str, _Sum] = {}
        self._reopen()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step by the names of their scalars.

        Steps from this one on that are there already are replaced: the run went back.
        """
        if self._last >= step:
            self.cut(step - 1)
        if self._first // self._width != step // self._width:
            self._close()
            self._first = step
        self._last = step
        sums = self._sums
        for name, value in values.items():
            known = sums.get(name)
            if known is None or SCALARS[name].fold == "last":
                sums[name] = _Sum(1, value, value, value)
            else:
                known.add(value)
        if len(self._points) >= MOST_POINTS:
            self._close()
            while len(self._points) > MOST_POINTS:
                self._width *= 2
                self._points = _merge(self._points, self._width)
            self._reopen()

    def cut(self, step: int) -> None:
        """Forget the points that lie behind a step as a whole, because the run resumes from there."""
        while self._first > step:
            self._first = self._last = -1
            self._sums = {}
            self._reopen()
        # Its later reports cannot be taken out of a point; they were of the same steps that come again.
        self._last = min(self._last, step)

    def finish(self) -> Curve:
        """Return the curve so far."""
        self._close()
        curve = Curve(tuple(self._points), self._width)
        self._reopen()
        return curve

    def _close(self) -> None:
        if self._first >= 0:
            values = {name: Spread(each.count, each.total, each.low, each.high) for name, each in self._sums.items()}
            self._points.append(CurvePoint(self._first, self._last, values))
            self._first = self._last = -1
            self._sums = {}

    def _reopen(self) -> None:
        if self._points:
            point = self._points.pop()
            self._first, self._last = point.first, point.last
            self._sums = {name: _Sum(each.count, each.total, each.low, each.high) for name, each in point.values.items()}


def _merge(points: Iterable[CurvePoint], width: int) -> list[CurvePoint]:
    merged: list[CurvePoint] = []
    for point in points:
        if merged and merged[-1].first // width == point.first // width:
            last = merged[-1]
            merged[-1] = CurvePoint(last.first, point.last, _join(last.values, point.values))
        else:
            merged.append(point)
    return merged


def _join(left: Mapping[str, Spread], right: Mapping[str, Spread]) -> dict[str, Spread]:
    joined = dict(left)
    for name, new in right.items():
        old = left.get(name)
        if old is None or SCALARS[name].fold == "last":
            joined[name] = new
        else:
            low, high = min(old.low, new.low), max(old.high, new.high)
            joined[name] = Spread(old.count + new.count, old.total + new.total, low, high)
    return joined


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
    curve          the step scalars that have a curve, by step
    evaluations    oldest first
    best           the evaluation of the weights that are kept (their average, where there is one) with the highest mean top1
                   over its depths, of equals the latest: that of the checkpoint that is kept as the best. One whose
                   checkpoint could not be written does not count
    unsaved        steps whose checkpoint could not be written
    checkpoints    oldest first
    warnings, warning_count  the latest ones, and how many there were in all
    log            the latest lines
    device         the latest sample of devices and host
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
    device: DeviceReport | None = None
    finish: FinishReport | None = None


def fold(snapshot: RunSnapshot, events: Iterable[Event]) -> RunSnapshot:
    """Return the snapshot after more events: the same however they are divided among calls.

    Unknown types count, and change nothing else. A run that was resumed from a checkpoint forgets the curve, the evaluations
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
        self._drawn = [name for name, scalar in SCALARS.items() if scalar.fold is not None]
        self._step_event: Event | None = None
        self._changes: dict[str, Any] = {}

    def add(self, event: Event) -> None:
        self._count += 1
        self._t = event.t
        if event.type == StepReport.kind:
            payload = event.payload
            step = integer(payload, "step")
            if step is not None and step >= 0:
                found = ((name, number(payload, name)) for name in self._drawn)
                self._curve.add(step, {name: value for name, value in found if value is not None})
                self._step_event = event
            return
        report = event.read()
        handle = _HANDLERS.get(type(report))
        if handle is not None:
            handle(self, report)

    def finish(self) -> RunSnapshot:
        self._take_step()
        return replace(self._before, events=self._count, t=self._t, curve=self._curve.finish(), **self._changes)

    def get(self, name: str) -> Any:
        return self._changes[name] if name in self._changes else getattr(self._before, name)

    def _take_step(self) -> None:
        """Read the latest step alone; of those before it the curve knows what is needed."""
        if self._step_event is not None:
            self._changes |= {"step": self._step_event.read(), "stage": None, "finish": None}
            self._step_event = None

    def started(self, start: StartReport) -> None:
        self._take_step()
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

    def stage(self, stage: StageReport) -> None:
        self._take_step()
        # Also the first sign of a trainer that resumes after an earlier one ended.
        self._changes |= {"stage": stage, "finish": None}

    def evaluation(self, report: EvaluationReport) -> None:
        self._changes["evaluations"] = (*self.get("evaluations"), report)[-MOST_EVALUATIONS:]
        self._choose_best((*filter(None, (self.get("best"),)), report))

    def checkpoint(self, report: CheckpointReport) -> None:
        self._changes["checkpoints"] = (*self.get("checkpoints"), report)[-MOST_CHECKPOINTS:]
        if report.step in self.get("unsaved"):
            self._changes["unsaved"] = self.get("unsaved") - {report.step}
            self._choose_best(self.get("evaluations"))

    def _choose_best(self, evaluations: Iterable[EvaluationReport]) -> None:
        every = list(evaluations)
        kept = [each for each in every if each.weights == "ema"] or every
        unsaved = self.get("unsaved")
        self._changes["best"] = best_of((each.monitored, each.step, each) for each in kept if each.step not in unsaved)

    def device(self, report: DeviceReport) -> None:
        self._changes["device"] = report

    def warning(self, report: WarningReport) -> None:
        self._changes["warnings"] = (*self.get("warnings"), report)[-MOST_MESSAGES:]
        self._changes["warning_count"] = self.get("warning_count") + 1
        if report.code == NO_CHECKPOINT and report.step is not None:
            self._changes["unsaved"] = self.get("unsaved") | {report.step}
            self._choose_best(self.get("evaluations"))

    def log(self, report: LogReport) -> None:
        self._changes["log"] = (*self.get("log"), report.text)[-MOST_MESSAGES:]

    def finished(self, report: FinishReport) -> None:
        self._take_step()
        self._changes |= {"finish": report, "stage": None}


_HANDLERS: Final[Mapping[type, Callable[[_Folding, Any], None]]] = {
    StartReport: _Folding.started,
    StageReport: _Folding.stage,
    EvaluationReport: _Folding.evaluation,
    CheckpointReport: _Folding.checkpoint,
    DeviceReport: _Folding.device,
    WarningReport: _Folding.warning,
    LogReport: _Folding.log,
    FinishReport: _Folding.finished,
}
