"""What a training consists of, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tleg.data.datasets import ImageSet
from tleg.errors import DataError
from tleg.learngene.header import Preprocessing
from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Keeping, Recipe, parts_of, too_few
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.students import Student
from tleg.training.teacher import Teacher


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training consists of.

    images, validation  training images, and those to evaluate on during training (None: never)
    layer_decay         each layer's learning rate as a part of the next one's; 1 is off
    epoch_images        training images in an epoch, which decide its steps; None: as many as there are
    about               what the weights are, stored with every checkpoint
    """

    student: Student
    images: ImageSet
    recipe: Recipe
    placement: Placement
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    num_classes: int
    validation: ImageSet | None = None
    teacher: Teacher | None = None
    distillation: Distillation = field(default_factory=Distillation)
    keeping: Keeping = field(default_factory=Keeping)
    layer_decay: float = 1.0
    epoch_images: int | None = None
    world: World = SINGLE
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    step, steps  done, and in all
    model        whose weights are the result (the average, with EMA)
    complete     whether all steps were done, and evaluated where they are; else it was asked to stop
    """

    step: int
    steps: int
    model: nn.Module
    complete: bool


def check_enough(images: int, recipe: Recipe, processes: int = 1) -> None:
    """Refuse fewer training images than a batch holds. Raises DataError, with the largest batch that fits."""
    problem = too_few(images, recipe.batch_size, parts_of(recipe, processes))
    if problem is not None:
        raise DataError(problem, field=("batch-size", "data"), code="out-of-range")
