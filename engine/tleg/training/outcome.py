"""From a training that ended to the model that is its result."""

from torch import nn

from tleg.training.checkpoints import Checkpoints, read_checkpoint
from tleg.training.kept import kept_state
from tleg.training.observer import TrainingStoppedError
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
