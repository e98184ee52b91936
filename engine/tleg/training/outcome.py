"""From a training that ended to the model that is its result."""

from collections.abc import Callable

from torch import nn

from tleg.training.checkpoint import Checkpoint, Checkpoints, read_checkpoint
from tleg.training.distributed import World
from tleg.training.kept import kept_state
from tleg.training.observer import QUIET, Observer, TrainingStoppedError
from tleg.training.plan import Outcome
from tleg.training.ready import make_ready
from tleg.training.resume import same_checkpoint


def finished_model(outcome: Outcome, checkpoints: Checkpoints | None, world: World, observer: Observer = QUIET) -> nn.Module:
    """Return the model whose weights are the result, in eval mode: the last, or the best when the run keeps the best.

    Where no checkpoint has an accuracy the observer is told that the result is the last. It is the same in every process.
    Raises TrainingStoppedError when there are steps left, TlegError when the best checkpoint is damaged.
    """
    if not outcome.complete:
        raise TrainingStoppedError(f"stopped after step {outcome.step} of {outcome.steps}")
    if checkpoints is not None and checkpoints.keeping.result == "best":
        # The main process may still be writing the last one, which can be the best, when the others come here.
        best = same_checkpoint(checkpoints, world, lambda: _best(checkpoints))
        if best is None:
            observer.warn("result", "no checkpoint has an accuracy, so that the last weights are the result, not the best")
        else:
            outcome.model.load_state_dict(kept_state(best), strict=True)
    return make_ready(outcome.model, world)


def _best(checkpoints: Checkpoints) -> Checkpoint | None:
    path = checkpoints.best()
    return None if path is None else read_checkpoint(path)


def check_place(observer: Observer) -> None:
    """Raise TrainingStoppedError where the folder that is to hold the result was removed or moved: it is not made again."""
    if not observer.may_write():
        raise TrainingStoppedError("stopped, because the folder of the run is gone")


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
