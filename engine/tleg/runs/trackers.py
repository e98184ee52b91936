"""Other programs' curves, fed from a run's events: TensorBoard, Weights & Biases, trackio. None of them is needed."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar, Final

from tleg.errors import InputError, TlegError, did_you_mean, explain, last_words
from tleg.runs.events import Event
from tleg.runs.payload import integer
from tleg.runs.reports import EvaluationReport
from tleg.runs.run import RunFolder
from tleg.runs.scalars import SCALARS, StepReport
from tleg.runs.spec import RunSpec, read_spec


class Tracker(ABC):
    """What shows scalars by step, for one run. A new one is a subclass, and a line in TRACKERS.

    name      for `tleg track --to`
    title     what people call it
    package   what is installed with pip for it
    projects  whether it sorts runs by project
    advice    what to do when it refuses
    """

    name: ClassVar[str]
    title: ClassVar[str]
    package: ClassVar[str]
    projects: ClassVar[bool] = True
    advice: ClassVar[str] = "see whether it works by itself"

    @abstractmethod
    def __init__(self, folder: RunFolder, spec: RunSpec, project: str) -> None:
        """Begin, or continue what was sent of this run before. Raises InputError and TlegError."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step. Raises TlegError."""

    @abstractmethod
    def close(self) -> None:
        """Send what is left. Raises TlegError."""

    @classmethod
    @contextmanager
    def errors_explained(cls) -> Iterator[None]:
        """Around what the other program does: its errors, of any kind, become one sentence. Raises TlegError."""
        try:
            yield
        except Exception as error:
            raise TlegError(f"{cls.package} refused: {last_words(error)[:300]}; {cls.advice}, then track again") from error

    @classmethod
    def load(cls, module: str) -> Any:
        """Return a module of the other program. Raises InputError where it is not installed, or broken."""
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            raise InputError(
                f"the package '{cls.package}' is not installed: pip install {cls.package}", field="to", code="not-installed"
            ) from error
        except Exception as error:  # Whatever a broken installation raises.
            reason = explain(error) or last_words(error)
            raise InputError(
                f"the package '{cls.package}' does not work: {reason}", field="to", code="not-installed"
            ) from error


class TensorBoard(Tracker):
    """Writes event files into the run's folder, for `tensorboard --logdir`."""

    name, title, package, projects = "tensorboard", "TensorBoard", "tensorboard", False

    def __init__(self, folder: RunFolder, spec: RunSpec, project: str) -> None:
        try:
            writer = import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError:
            writer = self.load("tensorboardX").SummaryWriter
        with self.errors_explained():
            self._writer = writer(str(folder.tensorboard))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step."""
        with self.errors_explained():
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        with self.errors_explained():
            self._writer.close()


class _Online(Tracker):
    """Weights & Biases, and trackio, which has the same functions."""

    def __init__(self, folder: RunFolder, spec: RunSpec, project: str) -> None:
        module = self.load(self.package)
        # The same run again continues the one that is there.
        with self.errors_explained():
            self._run = module.init(project=project, name=folder.id, config=dict(spec.recipe), **self.resumption(folder.id))

    @abstractmethod
    def resumption(self, run: str) -> dict[str, Any]:
        """Return the arguments that continue a run."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step."""
        with self.errors_explained():
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Send what is left."""
        with self.errors_explained():
            self._run.finish()


class WeightsAndBiases(_Online):
    """A run of wandb."""

    name, title, package, advice = "wandb", "Weights & Biases", "wandb", "log in to it first"

    def resumption(self, run: str) -> dict[str, Any]:
        """By id."""
        return {"id": run, "resume": "allow"}


class Trackio(_Online):
    """A run of trackio."""

    name, title, package = "trackio", "trackio", "trackio"

    def resumption(self, run: str) -> dict[str, Any]:
        """By name."""
        return {"resume": "allow"}


TRACKERS: Final[Mapping[str, type[Tracker]]] = MappingProxyType(
    {each.name: each for each in (TensorBoard, WeightsAndBiases, Trackio)}
)


def open_tracker(name: str, folder: RunFolder, project: str = "tleg") -> Tracker:
    """Return a tracker by name for a run. Raises InputError when it is unknown, or its package is not installed."""
    if name not in TRACKERS:
        raise InputError(
            f"unknown tracker '{name}': choose {', '.join(TRACKERS)}.{did_you_mean(name, TRACKERS)}",
            field="to",
            code="unknown-name",
        )
    return TRACKERS[name](folder, read_spec(folder), project)


def tracked(events: Iterable[Event]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, values by name) of steps and evaluations: 'loss', 'validation/top1', 'ema/validation/top1/depth 8', …"""
    for event in events:
        if integer(event.payload, "step") is None:
            continue
        report = event.read()
        if isinstance(report, StepReport):
            found = {name: getattr(report, name) for name, scalar in SCALARS.items() if scalar.tracked}
        elif isinstance(report, EvaluationReport):
            found = _scores(report)
        else:
            continue
        yield report.step, {name: value for name, value in found.items() if value is not None}


def _scores(report: EvaluationReport) -> dict[str, float | None]:
    prefix = "ema/" if report.weights == "ema" else ""
    found: dict[str, float | None] = {}
    for score in report.scores:
        place = "" if score.depth is None else f"/depth {score.depth}"
        for name, value in (("top1", score.top1), ("top5", score.top5), ("loss", score.loss), ("cosine", score.cosine)):
            if name == "cosine" and value is None:
                continue  # Where accuracies are measured.
            found[f"{prefix}validation/{name}{place}"] = value
    return found
