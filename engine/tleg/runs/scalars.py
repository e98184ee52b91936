"""What events say, as values: payloads read with tolerance, because a viewer may be older or newer than the trainer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

_GREATEST: Final = 10**300  # Greater whole numbers are no floats; nothing that is measured is so great.
FinishState = Literal["finished", "stopped", "failed", "queued"]
_FINISH_STATES: Final[Mapping[str, FinishState]] = {
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "queued": "queued",
}


@dataclass(frozen=True, slots=True)
class StartReport:
    """A trainer began, or went on. `restart` counts, `resumed_from` names a checkpoint. `t` is Unix time, as everywhere."""

    t: float
    step: int
    steps: int | None
    epochs: int | None
    restart: int
    resumed_from: str | None
    host: str | None
    pid: int | None
    world_size: int | None
    device: str | None
    precision: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class StageReport:
    """What happens outside of steps, such as 'opening data', with how much of it is done where that can be counted."""

    t: float
    name: str
    text: str
    done: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class StepReport:
    """The numbers of a step. `data_wait` is a share of the time, `scale` that of float16's gradients."""

    t: float
    step: int
    steps: int | None
    epoch: int | None
    epochs: int | None
    loss: float | None
    task_loss: float | None
    distillation_loss: float | None
    learning_rate: float | None
    gradient_norm: float | None
    images_per_second: float | None
    data_wait: float | None
    depth: int | None
    scale: float | None


@dataclass(frozen=True, slots=True)
class DepthScore:
    """Accuracy at one depth; top1 and top5 in percent. None where outputs were not finite, for so many of the images."""

    depth: int | None
    top1: float | None
    top5: float | None
    loss: float | None
    images: int | None
    nonfinite: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """An evaluation at one depth or several, of the model's weights or of their average ('ema')."""

    t: float
    step: int
    epoch: int | None
    weights: str
    scores: tuple[DepthScore, ...]
    images_per_second: float | None

    @property
    def top1(self) -> float | None:
        """The mean of top1 over the depths, in percent; None without scores, and where one depth has none."""
        values = self._values
        return sum(values) / len(values) if values and len(values) == len(self.scores) else None

    @property
    def averaged(self) -> int:
        """Over how many depths `top1` is the mean."""
        return len(self._values)

    @property
    def _values(self) -> list[float]:
        return [score.top1 for score in self.scores if score.top1 is not None]


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A checkpoint was written; `best` when it is the best so far."""

    t: float
    step: int
    name: str
    seconds: float | None
    bytes: int | None
    best: bool


@dataclass(frozen=True, slots=True)
class WarningReport:
    """Something that a person should know."""

    t: float
    code: str
    text: str
    step: int | None


@dataclass(frozen=True, slots=True)
class FinishReport:
    """A trainer ended; 'queued' asks to be continued."""

    t: float
    state: FinishState
    reason: str | None
    exit_code: int | None
    step: int | None
    result: str | None


def read_start(t: float, payload: Mapping[str, Any]) -> StartReport:
    """Read a `started` event."""
    return StartReport(
        t=t,
        step=integer(payload, "step") or 0,
        steps=integer(payload, "steps"),
        epochs=integer(payload, "epochs"),
        restart=integer(payload, "restart") or 0,
        resumed_from=text(payload, "resumed_from"),
        host=text(payload, "host"),
        pid=integer(payload, "pid"),
        world_size=integer(payload, "world_size"),
        device=text(payload, "device"),
        precision=text(payload, "precision"),
        reason=text(payload, "reason"),
    )


def read_stage(t: float, payload: Mapping[str, Any]) -> StageReport:
    """Read a `stage` event."""
    name = text(payload, "name") or ""
    return StageReport(t, name, text(payload, "text") or name, integer(payload, "done"), integer(payload, "total"))


def read_step(t: float, payload: Mapping[str, Any]) -> StepReport:
    """Read a `step` event."""
    return StepReport(
        t=t,
        step=integer(payload, "step") or 0,
        steps=integer(payload, "steps"),
        epoch=integer(payload, "epoch"),
        epochs=integer(payload, "epochs"),
        loss=number(payload, "loss"),
        task_loss=number(payload, "task_loss"),
        distillation_loss=number(payload, "distillation_loss"),
        learning_rate=number(payload, "learning_rate"),
        gradient_norm=number(payload, "gradient_norm"),
        images_per_second=number(payload, "images_per_second"),
        data_wait=number(payload, "data_wait"),
        depth=integer(payload, "depth"),
        scale=number(payload, "scale"),
    )


def read_evaluation(t: float, payload: Mapping[str, Any]) -> EvaluationReport:
    """Read an `evaluation` event."""
    scores = payload.get("scores")
    return EvaluationReport(
        t=t,
        step=integer(payload, "step") or 0,
        epoch=integer(payload, "epoch"),
        weights=text(payload, "weights") or "model",
        scores=tuple(_read_score(each) for each in scores if isinstance(each, Mapping)) if isinstance(scores, list) else (),
        images_per_second=number(payload, "images_per_second"),
    )


def _read_score(score: Mapping[str, Any]) -> DepthScore:
    return DepthScore(
        depth=integer(score, "depth"),
        top1=number(score, "top1"),
        top5=number(score, "top5"),
        loss=number(score, "loss"),
        images=integer(score, "images"),
        nonfinite=integer(score, "nonfinite") or 0,
    )


def read_checkpoint(t: float, payload: Mapping[str, Any]) -> CheckpointReport:
    """Read a `checkpoint` event."""
    return CheckpointReport(
        t=t,
        step=integer(payload, "step") or 0,
        name=text(payload, "name") or "",
        seconds=number(payload, "seconds"),
        bytes=integer(payload, "bytes"),
        best=payload.get("best") is True,
    )


def read_warning(t: float, payload: Mapping[str, Any]) -> WarningReport:
    """Read a `warning` event."""
    return WarningReport(t, text(payload, "code") or "", text(payload, "text") or "", integer(payload, "step"))


def read_finish(t: float, payload: Mapping[str, Any]) -> FinishReport:
    """Read a `finished` event. An unknown state counts as failed."""
    return FinishReport(
        t=t,
        state=_FINISH_STATES.get(text(payload, "state") or "", "failed"),
        reason=text(payload, "reason"),
        exit_code=integer(payload, "exit_code"),
        step=integer(payload, "step"),
        result=text(payload, "result"),
    )


def number(payload: Mapping[str, Any], name: str) -> float | None:
    """A number of a payload, or None where there is none."""
    value = payload.get(name)
    if type(value) is float:
        return value if math.isfinite(value) else None  # Another writer's NaN.
    return float(value) if type(value) is int and abs(value) < _GREATEST else None


def integer(payload: Mapping[str, Any], name: str) -> int | None:
    """A whole number of a payload, or None where there is none."""
    value = payload.get(name)
    return value if type(value) is int else None


def text(payload: Mapping[str, Any], name: str) -> str | None:
    """A text of a payload, or None where there is none."""
    value = payload.get(name)
    return value if isinstance(value, str) else None
