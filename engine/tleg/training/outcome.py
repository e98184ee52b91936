"""From a training that ended to the model that is its result."""

from collections.abc import Callable

from torch import nn

from tleg.training.checkpoints import Checkpoints, read_checkpoint
from tleg.training.distributed import World
from tleg.training.kept import kept_state
from tleg.training.observer import Observer, TrainingStoppedError
from tleg.training.plan import Outcome


def finished_model(outcome: Outcome, checkpoints: Checkpoints | None) -> nn.Module:
    """Return the model whose weights are the result, in eval mode: the last, or the best when the run keeps the best.

    Raises TrainingStoppedError when there are steps left, FileFormatError when the best checkpoint is damaged.
    """
    if not outcome.complete:
        raise TrainingStoppedError(f"stopped after step {outcome.step} of {outcome.steps}")
    if checkpoints is not None and checkpoints.keeping.result == "best" and (best := checkpoints.best()) is not None:
        outcome.model.load_state_dict(kept_state(read_checkpoint(best)), strict=True)
    return outcome.model.eval()


def told(observer: Observer, text: str, world: World) -> Callable[[int, int], None]:
    """Return what tells how far the evaluation of a result is, and ends it when it is asked to stop.

    The result is on the disk then, and is evaluated when the run goes on. Raises TrainingStoppedError.
    """

    def count(done: int, total: int) -> None:
        observer.stage("evaluation", text, done, total)
        # The others would wait for this process's counts.
        if world.size == 1 and done < total and observer.stop_requested():
            raise TrainingStoppedError(f"stopped while {text}")

    return count
