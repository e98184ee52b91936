"""Where one process of a run trains, with which part of a batch, and with whom."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tleg.errors import InputError
from tleg.recipes.kinds import TrainingRecipe
from tleg.training.device import Placement, choose_placement
from tleg.training.distributed import World, join_world
from tleg.training.observer import TrainingStoppedError


@contextmanager
def placed(recipe: TrainingRecipe) -> Iterator[tuple[Placement, World]]:
    """The device and precision of this process, joined with the others that torchrun started.

    Everything that can be wrong is looked at by every process before any waits for another. Raises InputError.
    """
    compute = recipe.compute
    rank, here, size = (number(name) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    placement = choose_placement(compute.device, compute.precision, rank, max(here, 1))
    check_shares(recipe, max(size, 1))
    if placement.device.type == "cuda":
        torch.cuda.set_device(placement.device)
    with join_world(placement.device, together=(TrainingStoppedError,)) as world:
        yield placement, world


def check_shares(recipe: TrainingRecipe, processes: int) -> None:
    """Check that a batch divides among so many processes; torchrun may have others than the recipe. Raises InputError."""
    parts, batch_size = processes * recipe.recipe.accumulate, recipe.recipe.batch_size
    if batch_size % parts:
        raise InputError(
            f"batch-size {batch_size} does not divide into {parts} equal parts ({processes} processes times accumulate)"
        )
    if recipe.recipe.mixing and batch_size % (2 * processes):
        raise InputError(
            f"mixup and cutmix pair images in each of the {processes} processes: batch-size must be a multiple of "
            f"{2 * processes}, not {batch_size}"
        )


def number(name: str) -> int:
    """Return one of torchrun's variables, 0 where it is missing. Raises InputError when it is no number."""
    value = os.environ.get(name) or "0"
    try:
        return int(value)
    except ValueError as error:
        raise InputError(f"{name} is set to '{value}', which is no number") from error
