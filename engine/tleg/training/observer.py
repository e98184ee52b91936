"""What a training tells whoever watches, and the one thing it asks: whether to stop."""

from collections.abc import Mapping
from dataclasses import dataclass

from tleg.errors import TlegError
from tleg.training.evaluation import Score


class TrainingStoppedError(TlegError):
    """The training was asked to stop, and did: it can go on from its checkpoint."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step, and how fast steps were since the report before.

    step, epoch                    counted from 1: what is done
    loss, task_loss,
    distillation_loss              means over the step's images on all devices; the last is None without a teacher
    learning_rate, gradient_norm   those that the step used; the norm before clipping
    images_per_second              on all devices
    data_wait                      the share of the time, 0..1, in which the model waited for images
    depth                          the deepest of the step, None for a model of one depth
    scale                          float16's loss scale, or None
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    task_loss: float
    distillation_loss: float | None
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    data_wait: float
    depth: int | None
    scale: float | None


class Observer:
    """Watches nothing and never stops. What watches a run overrides what it wants to know."""

    def stage(self, name: str, text: str, done: int | None = None, total: int | None = None) -> None:
        """Something that is no step has begun, or has come so far."""

    def started(self, step: int, steps: int, epochs: int) -> None:
        """Steps begin: so many are done already, of so many."""

    def stepped(self, report: StepReport) -> None:
        """A step is done; told a few times a second at most."""

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
