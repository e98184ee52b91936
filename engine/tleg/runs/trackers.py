"""Other programs' curves, fed from a run's events: TensorBoard, Weights & Biases, trackio. None of them is needed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, Protocol

from tleg.errors import InputError, TlegError, did_you_mean, explain, last_words
from tleg.runs.events import Event
from tleg.runs.run import RunFolder
from tleg.runs.spec import RunSpec, read_spec

_STEP_VALUES: Final = (
    "loss",
    "task_loss",
    "distillation_loss",
    "learning_rate",
    "gradient_norm",
    "images_per_second",
    "data_wait",
    "scale",
)


class Tracker(Protocol):
    """What shows scalars by step."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


@contextmanager
def told(package: str) -> Iterator[None]:
    """Around what another program does: its errors, of any kind, become one sentence. Raises TlegError."""
    try:
        yield
    except Exception as error:
        advice = "log in to it first" if package == "wandb" else "see whether it works by itself"
        raise TlegError(f"{package} refused: {last_words(error)[:300]}; {advice}, then track again") from error


class TensorBoard:
    """Writes event files into the run's folder, for `tensorboard --logdir`."""

    def __init__(self, folder: RunFolder, spec: RunSpec, project: str) -> None:
        try:
            writer = import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError:
            writer = _load("tensorboardX", "tensorboard").SummaryWriter
        with told("tensorboard"):
            self._writer = writer(str(folder.path / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step."""
        with told("tensorboard"):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        with told("tensorboard"):
            self._writer.close()


class _Online:
    """Weights & Biases, and trackio, which has the same functions."""

    package = ""

    def __init__(self, folder: RunFolder, spec: RunSpec, project: str) -> None:
        module = _load(self.package, self.package)
        # The same id again goes on with the run that has it.
        with told(self.package):
            self._run = module.init(project=project, name=folder.id, config=dict(spec.recipe), **self.resumption(folder.id))

    def resumption(self, run: str) -> dict[str, Any]:
        """Return the arguments that make a run go on."""
        raise NotImplementedError

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show values of a step."""
        with told(self.package):
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Send what is left."""
        with told(self.package):
            self._run.finish()


class WeightsAndBiases(_Online):
    """A run of wandb."""

    package = "wandb"

    def resumption(self, run: str) -> dict[str, Any]:
        """By id."""
        return {"id": run, "resume": "allow"}


class Trackio(_Online):
    """A run of trackio."""

    package = "trackio"

    def resumption(self, run: str) -> dict[str, Any]:
        """By name."""
        return {"resume": "allow"}


TRACKERS: Final[Mapping[str, Callable[[RunFolder, RunSpec, str], Tracker]]] = MappingProxyType(
    {"tensorboard": TensorBoard, "wandb": WeightsAndBiases, "trackio": Trackio}
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


def scalars_of(events: Iterable[Event]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, values by name) of steps and evaluations: 'loss', 'top1/depth 8', 'ema/top1/depth 8', …"""
    for event in events:
        payload = event.payload
        step = payload.get("step")
        if not isinstance(step, int):
            continue
        if event.type == "step":
            values = {name: payload[name] for name in _STEP_VALUES if isinstance(payload.get(name), int | float)}
            yield step, values
        elif event.type == "evaluation":
            prefix = "ema/" if payload.get("weights") == "ema" else ""
            found = {}
            for row in payload.get("scores", ()):
                place = "" if row.get("depth") is None else f"/depth {row['depth']}"
                for name in ("top1", "top5", "loss"):
                    if isinstance(row.get(name), int | float):
                        found[f"{prefix}validation/{name}{place}"] = row[name]
            yield step, found


def _load(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package '{package}' is not installed: pip install {package}", field="to", code="not-installed"
        ) from error
    except Exception as error:  # Whatever a broken installation raises.
        reason = explain(error) or last_words(error)
        raise InputError(f"the package '{package}' does not work: {reason}", field="to", code="not-installed") from error
