"""Resume: the latest checkpoint into a training's state, and at its end the best one into its result.

Several processes take the same one, which the main process chooses.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from tleg.errors import FileFormatError, TlegError, last_words
from tleg.training.checkpoint import Checkpoint, Checkpoints, Progress, projection_state, read_checkpoint, result_state
from tleg.training.distributed import World, in_eval_mode
from tleg.training.observer import QUIET, Observer
from tleg.training.optim import TrainingState

_NONE: Final = -1


def resume(
    state: TrainingState, checkpoints: Checkpoints | None, steps: int, world: World, observer: Observer
) -> Progress | None:
    """Put the latest checkpoint that is whole into a state of so many steps, and return how far it is; None for a new run.

    Raises TlegError, in every process, when there are checkpoints and none can be read, when one process cannot read the one
    that the main process chose, or when the processes' weights differ.
    """
    progress = None
    if checkpoints is not None:
        checkpoint = same_checkpoint(checkpoints, world, lambda: _latest(checkpoints, steps, observer))
        if checkpoint is not None:
            _load(state, checkpoint)
            progress = checkpoint.progress
    _check_same(state.student, world)
    return progress


def _load(state: TrainingState, checkpoint: Checkpoint) -> None:
    try:
        state.load(checkpoint)
    except (RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise TlegError(
            f"{checkpoint.path} is of another model than the run makes now ({last_words(error)[:200]}); go on with the "
            "versions of tleg, torch and timm and the files that it began with, or start a new run",
            code="mismatch",
        ) from error


def same_checkpoint(checkpoints: Checkpoints, world: World, choose: Callable[[], Checkpoint | None]) -> Checkpoint | None:
    """Return the checkpoint that the main process chooses, in every process, or None when it chooses none.

    Raises TlegError in all of them, with the same words, when one of them cannot read it.
    """
    checkpoint, problem = None, ""
    if world.is_main:
        try:
            checkpoint = choose()
        except TlegError as error:
            problem = str(error)
    step = world.from_main(_NONE if checkpoint is None else checkpoint.progress.step)
    if step != _NONE and not world.is_main:
        try:
            checkpoint = read_checkpoint(checkpoints.at(step))
        except FileFormatError as error:
            problem = f"process {world.rank} of {world.size}: {error}"
    problem = world.first(problem)
    if problem:
        raise TlegError(problem, code="bad-file")
    return checkpoint


def _latest(checkpoints: Checkpoints, steps: int, observer: Observer) -> Checkpoint | None:
    checkpoint, problems = checkpoints.latest()
    if checkpoint is None and problems:
        count = "the checkpoint cannot" if len(problems) == 1 else f"none of the {len(problems)} checkpoints can"
        raise TlegError(f"{count} be read: {problems[0]}; move {checkpoints.folder} away to begin anew", code="bad-file")
    for problem in problems:
        observer.warn("checkpoint", f"{problem}; an earlier one is used")
    if checkpoint is not None and checkpoint.progress.step > steps:
        raise TlegError(
            f"the checkpoint is of step {checkpoint.progress.step}, and the recipe has {steps} steps", code="mismatch"
        )
    return checkpoint


def _check_same(model: nn.Module, world: World) -> None:
    """Refuse to average the gradients of different weights, which would look like training."""
    if world.size == 1:
        return
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    mine = int.from_bytes(digest.digest()[:7])
    same = mine == world.from_main(mine)
    problem = world.first("" if same else f"process {world.rank} of {world.size} begins with other weights than the first")
    if problem:
        raise TlegError(
            f"{problem}; do all have the same version of tleg, torch and timm, and the same files?", code="mismatch"
        )


def finished_model(
    model: nn.Module,
    checkpoints: Checkpoints | None,
    world: World,
    observer: Observer = QUIET,
    projection: nn.Module | None = None,
) -> nn.Module:
    """Return the model of a training that is complete, in eval mode: as it is, or the best when the run keeps the best.

    projection  to a teacher's features, which is trained beside the model and becomes that of the same checkpoint

    Where no checkpoint has an accuracy the observer is told that the result is the last. It is the same in every process.
    Raises TlegError when the best checkpoint is damaged.
    """
    if checkpoints is not None and checkpoints.keeping.result == "best":
        # The main process may still be writing the last one, which can be the best, when the others come here.
        best = same_checkpoint(checkpoints, world, lambda: _best(checkpoints))
        if best is None:
            observer.warn("result", "no checkpoint has an accuracy, so that the last weights are the result, not the best")
        else:
            model.load_state_dict(result_state(best), strict=True)
            if projection is not None:
                projection.load_state_dict(projection_state(best), strict=True)
    return in_eval_mode(model, world)


def _best(checkpoints: Checkpoints) -> Checkpoint | None:
    path = checkpoints.best()
    return None if path is None else read_checkpoint(path)
