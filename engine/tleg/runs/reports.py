"""The events of a run: each is one class, which is what the trainer writes and what viewers read.

The names of classes' fields are those of the payloads of version 1 of the format, which `tleg.runs.events` describes. A step
is `tleg.runs.scalars.StepReport`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Self

from tleg.runs.payload import Report, noted, read_fields
from tleg.runs.scalars import StepReport

FinishState = Literal["finished", "stopped", "failed", "queued"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReport(Report):
    """A trainer starts to train, from the beginning or from a checkpoint."""

    kind: ClassVar[str] = "started"
    step: int = 0
    steps: int | None = None
    epochs: int | None = None
    resumed_from: str | None = noted("a checkpoint, or null")
    restart: int = noted("how often the processes were started again", 0)
    host: str | None = None
    pid: int | None = None
    world_size: int | None = None
    device: str | None = None
    precision: str | None = None
    threads: int | None = noted("of each process")
    reason: str | None = noted("why this precision")
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport(Report):
    """Something that is no step: opening data, checking the teacher, evaluating."""

    kind: ClassVar[str] = "stage"
    name: str = ""
    text: str = ""
    done: int | None = noted("null when it cannot be counted")
    total: int | None = None

    @classmethod
    def read(cls, t: float, payload: Mapping[str, Any]) -> Self:
        """Return what a payload says; without a text the name stands for it."""
        text = payload.get("text")
        return read_fields(cls, {**payload, "text": text if isinstance(text, str) else payload.get("name")}, t=t)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScore:
    """Accuracy at one depth; without figures where outputs were not finite."""

    depth: int | None = None
    top1: float | None = noted("percent")
    top5: float | None = noted("percent")
    loss: float | None = None
    images: int | None = None
    nonfinite: int = noted("only where outputs were not finite: for so many of the images", 0, seldom=True)
    cosine: float | None = noted("only where a teacher's features are learned: with them, -1 to 1", None, seldom=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport(Report):
    """An evaluation at one depth or several, of the model's weights or of their average."""

    kind: ClassVar[str] = "evaluation"
    step: int = 0
    epoch: int | None = None
    weights: str = noted("`model` or `ema`", "model")
    scores: tuple[DepthScore, ...] = ()
    images_per_second: float | None = None

    @property
    def top1(self) -> float | None:
        """The mean of top1 over the depths, in percent; None without scores, and where one depth has none."""
        values = self._values
        return sum(values) / len(values) if values and len(values) == len(self.scores) else None

    @property
    def cosine(self) -> float | None:
        """The mean cosine with the teacher's features over the depths; None where features are not what is learned."""
        values = self._cosines
        return sum(values) / len(values) if values and len(values) == len(self.scores) else None

    @property
    def monitored(self) -> float | None:
        """What chooses the best: the cosine where features are learned, else `top1`. The higher the better."""
        return self.top1 if self.cosine is None else self.cosine

    @property
    def averaged(self) -> int:
        """Over how many depths `monitored` is the mean."""
        return len(self._values) or len(self._cosines)

    @property
    def _cosines(self) -> list[float]:
        return [score.cosine for score in self.scores if score.cosine is not None]

    @property
    def _values(self) -> list[float]:
        return [score.top1 for score in self.scores if score.top1 is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointReport(Report):
    """A checkpoint was written."""

    kind: ClassVar[str] = "checkpoint"
    step: int = 0
    name: str = ""
    seconds: float | None = None
    bytes: int | None = None
    best: bool = noted("true when it is the best so far", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSample:
    """What one device does."""

    index: int | None = None
    name: str | None = None
    utilisation: float | None = noted("percent")
    memory_used: int | None = noted("bytes")
    memory_total: int | None = noted("bytes")
    temperature: float | None = noted("°C")
    power: float | None = noted("W")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """What the machine does."""

    memory_used: int | None = noted("bytes")
    memory_total: int | None = noted("bytes")
    load: float | None = noted("average of a minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport(Report):
    """What devices and machine are doing, every few seconds."""

    kind: ClassVar[str] = "device"
    devices: tuple[DeviceSample, ...] = ()
    host: HostSample | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningReport(Report):
    """Something that a person should know, and that does not end the training."""

    kind: ClassVar[str] = "warning"
    code: str = ""
    text: str = ""
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport(Report):
    """A line for people."""

    kind: ClassVar[str] = "log"
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishReport(Report):
    """A trainer ended; a state that a viewer does not know counts as failed."""

    kind: ClassVar[str] = "finished"
    state: FinishState = noted(  # noqa: RUF009  # It returns a field.
        "`finished`, `stopped`, `failed`, or `queued` for one that is to be started again", "failed"
    )
    reason: str | None = None
    exit_code: int | None = None
    step: int | None = None
    result: str | None = noted("a path, or null")


# By the type that the event has.
REPORTS: Final[dict[str, type[Report]]] = {
    each.kind: each
    for each in (
        StartReport,
        StageReport,
        StepReport,
        EvaluationReport,
        CheckpointReport,
        DeviceReport,
        WarningReport,
        LogReport,
        FinishReport,
    )
}
