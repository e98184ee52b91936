"""What a run measures at a step: the one table of step scalars.

A new scalar is a field of `StepReport` here, and a line in the trainer that computes it. Events, curves, trackers, the live
view, lines in a log, the workbench and docs/runs.md follow from the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal

from tleg.runs.payload import Report

Fold = Literal["mean", "last"]
Form = Literal["number", "rate", "count", "share"]
_SCALAR: Final = "scalar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A quantity of a step. Its name in events and for trackers is that of its field of StepReport.

    label    what people call it, over its curve: 'learning rate'
    about    what exactly it is, for the documentation
    form     the kind of number: 'number' has four digits, 'rate' is small, 'count' is large and whole, 'share' is 0 to 1 and
             shown in percent
    fold     what a point of a curve that stands for several steps holds: 'mean' (with least and greatest), the 'last'
             value, or None for a quantity without a curve
    axis     of its curve: from 'zero', or 'free', fitted to the values and logarithmic when a person asks for that
    line     how it is written in a line of a log, '' when it is not: 'loss {:.4f}'
    live     the same in the live view of a terminal
    missing  what the live view says where it has no value
    above    values up to this one are not worth a look, and left out of views of the latest step
    brief    its name beside figures in the workbench, '' for one that is not shown there
    tracked  whether trackers get it
    """

    label: str
    about: str
    form: Form = "number"
    fold: Fold | None = None
    axis: Literal["zero", "free"] = "zero"
    line: str = ""
    live: str = ""
    missing: str = ""
    above: float | None = None
    brief: str = ""
    tracked: bool = True

    def shown(self, value: float) -> float:
        """Return the value as people read it: a share in percent."""
        return 100 * value if self.form == "share" else value

    def notable(self, value: float | None) -> bool:
        """Whether a view of the latest step shows this value."""
        return value is not None and (self.above is None or value > self.above)

    def in_line(self, value: float | None) -> str:
        """Write a value for a line of a log, '' where nothing is to be said."""
        return self.line.format(self.shown(value)) if value is not None else ""

    def in_live_view(self, value: float | None) -> str:
        """Write a value for the live view, '' where nothing is to be said."""
        if value is None:
            return self.missing
        return self.live.format(self.shown(value)) if self.notable(value) else ""


def scalar(label: str, about: str, **more: Any) -> Any:
    """Return a field of StepReport that holds a step scalar; the arguments are those of Scalar. None without a value."""
    return field(default=None, metadata={_SCALAR: Scalar(label=label, about=about, **more)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport(Report):
    """A step is done; written at most twice a second. Scalars without a finite value are null.

    step, epoch    counted from 1: what is done
    steps, epochs  in all
    """

    kind: ClassVar[str] = "step"
    step: int = 0
    steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = scalar(
        "loss",
        "what is minimised, the mean over the step's images on all devices",
        fold="mean",
        axis="free",
        line="loss {:.4f}",
        live="loss {:.4g}",
        missing="loss -",
    )
    task_loss: float | None = scalar("task loss", "the part of the loss that compares with the labels")
    distillation_loss: float | None = scalar(
        "distillation loss",
        "the part that compares with the teacher; null without one",
        live="teacher {:.4g}",
        brief="teacher",
    )
    learning_rate: float | None = scalar(
        "learning rate",
        "the one that the step used",
        form="rate",
        fold="last",
        line="learning rate {:.2e}",
        live="rate {:.2e}",
        brief="rate",
    )
    gradient_norm: float | None = scalar(
        "gradient norm",
        "before clipping",
        fold="mean",
        line="gradient {:.3g}",
        live="gradient {:.4g}",
        missing="gradient -",
        brief="gradient",
    )
    images_per_second: float | None = scalar(
        "images per second",
        "on all devices, since the report before",
        form="count",
        fold="mean",
        line="{:.0f} images/s",
        live="{:.0f} images/s",
        brief="img/s",
    )
    data_wait: float | None = scalar(
        "waiting for images",
        "the share of the time since the report before, 0 to 1, in which the model waited for images",
        form="share",
        live="waits {:.0f} %",
        above=0.2,
        brief="waiting",
    )
    depth: int | None = scalar(
        "depth", "the deepest of the step; null for a model of one depth", form="count", tracked=False
    )
    scale: float | None = scalar("loss scale", "the factor on float16's gradients; null in other precisions", form="count")


def scalars_of(kind: type[StepReport]) -> dict[str, Scalar]:
    """Return the scalars of a class of reports by name, in the order of its fields."""
    return {each.name: each.metadata[_SCALAR] for each in fields(kind) if _SCALAR in each.metadata}


SCALARS: Final[dict[str, Scalar]] = scalars_of(StepReport)


def live_figures(report: StepReport) -> list[str]:
    """Return what a live view says of a step: 'loss 2.5', 'rate 5.00e-04', …"""
    return _written(report, {name: each.in_live_view for name, each in SCALARS.items()})


def line_figures(report: StepReport) -> list[str]:
    """Return what a line of a log says of a step."""
    return _written(report, {name: each.in_line for name, each in SCALARS.items()})


def _written(report: StepReport, writers: Mapping[str, Callable[[float | None], str]]) -> list[str]:
    return [text for name, write in writers.items() if (text := write(getattr(report, name)))]
