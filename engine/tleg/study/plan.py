"""How long each training of a study is, and what it will compute. Torch is loaded for a budget of MACs alone."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from tleg.data.counting import count_training_images
from tleg.errors import InputError, TlegError
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import TrainingRecipe
from tleg.study.compute import count_start, count_teacher, forward_at_depths, learngene_macs, training_macs
from tleg.study.file import Study
from tleg.study.grid import Task, list_tasks, seed_tasks

if TYPE_CHECKING:
    from tleg.data.datasets import Data, ImageSet

# Where a result will be that is not there while a study is checked.
_LATER: Final = Path("later")
# More images than anybody has.
_ALL: Final = 10**15


@dataclass(frozen=True, slots=True)
class Planned:
    """A training that will be: its epochs, or None while the time of one is not measured."""

    task: Task
    recipe: TrainingRecipe
    epochs: int | None


class Plan:
    """How long the trainings of a study are. What is found once is known from then on.

    seconds  of the one epoch of a training that measures that, by its name; None while it is not known
    """

    def __init__(self, study: Study, seconds: Callable[[str], float | None] = lambda _: None) -> None:
        self._study, self._seconds = study, seconds
        self._images: dict[tuple[str, float | None], int | None] = {}
        self._data: dict[tuple[Any, ...], Data] = {}
        self._costs: dict[str, tuple[Callable[[int], int], ...]] = {}
        self._macs: dict[str, float] = {}

    def epochs(self, task: Task) -> int | None:
        """Return the epochs of a training; None while what they follow from is not measured.

        Raises InputError, naming the training, for a budget that is less than half an epoch, and where it cannot be known
        what an epoch takes.
        """
        budget = self._study.budget
        if task.purpose == "speed":
            return 1
        if budget is None or task.own_epochs(self._study) is not None:
            return self._sketch(task).recipe.epochs
        try:
            parts = [self._epoch(each) for each in self._together(task)]
            known = [part for part in parts if part is not None]
            return budget.epochs(sum(known)) if len(known) == len(parts) else None
        except InputError as error:
            raise InputError(f"{task.name}: {error}", **error.about) from error

    def recipe(self, task: Task, results: Mapping[str, Path]) -> TrainingRecipe:
        """Return what is trained. `results` has the folders of the runs that it needs. Raises InputError."""
        epochs = self.epochs(task)
        if epochs is None:
            raise InputError(f"{task.name}: the time of an epoch is not measured yet", field="study", code="missing")
        return task.recipe(self._study, results, epochs)

    def macs(self, planned: Planned) -> float | None:
        """Return the multiply-accumulates of a training that will be; None where they cannot be known. Loads torch."""
        try:
            images = self.images(planned.task)
            return None if planned.epochs is None else planned.epochs * images * self.image_macs(planned.task)
        except (TlegError, OSError):
            return None

    def images(self, task: Task) -> int:
        """Return the number of training images. Raises InputError where they cannot be counted."""
        recipe = self._sketch(task)
        key = recipe.data, recipe.validation_split
        if key not in self._images:
            self._images[key] = count_training_images(*key, enough=_ALL)
        if (found := self._images[key]) is None:
            raise InputError(
                f"the training images of {recipe.data} cannot be counted before it is opened; give a budget of epochs",
                field="study",
                code="unsupported",
            )
        return found

    def image_macs(self, task: Task) -> float:
        """Return the multiply-accumulates of training for one image. Raises InputError where they cannot be known."""
        key = f"{task.arm.name}/{task.data}/{task.depth}/{json.dumps(task.choice, sort_keys=True, default=str)}"
        if key not in self._macs:
            recipe = self._sketch(task)
            try:
                self._macs[key] = training_macs(self._forward(task), self._teacher(task, recipe))
            except (TlegError, OSError) as error:
                raise InputError(
                    f"what the arm '{task.arm.name}' computes is not known ({error}); give it epochs of its own",
                    field="study",
                    code="unsupported",
                ) from error
        return self._macs[key]

    def _together(self, task: Task) -> list[Task]:
        """The trainings that have a budget together."""
        budget = self._study.budget
        if budget is None or budget.of == "training" or task.depth is None:
            return [task]
        return [replace(task, depth=depth) for depth in self._study.depths]

    def _epoch(self, task: Task) -> float | None:
        """What an epoch of a training takes of the budget; None while that is not measured."""
        assert self._study.budget is not None
        match self._study.budget.unit:
            case "epochs":
                return 1.0
            case "images":
                return float(self.images(task))
            case "macs":
                return self.images(task) * self.image_macs(task)
        seconds = self._seconds(task.speed)
        return None if seconds is None else seconds / 60

    def _sketch(self, task: Task) -> TrainingRecipe:
        """The recipe with other epochs, and without results."""
        return task.recipe(self._study, dict.fromkeys(task.needs.values(), _LATER), 1)

    def _sketch_without_start(self, task: Task) -> LearnRecipe:
        """The sketch of a learning that says itself what it would have of the arm that it starts from."""
        recipe = self._sketch(task)
        assert isinstance(recipe, LearnRecipe)
        if task.arm.start is None:
            return recipe
        before = self._one(task.arm.start, task.data, task.arm.start_depth)
        while before.arm.kind == "finetune" and before.arm.start is not None:
            before = self._one(before.arm.start, task.data, before.depth if before.arm.prunes else None)
        known: dict[str, Any] = {}
        if before.arm.kind == "learn":
            other = self._sketch_without_start(before)
            name, known = other.architecture, dict(other.model_arguments)
        else:
            model = self._sketch(before)
            assert isinstance(model, FinetuneRecipe)
            name, known = model.model or "", dict(model.model_arguments)
            known.pop("depth", None)
        if name.partition(".")[0] != recipe.architecture.partition(".")[0]:
            known = {}
        return replace(recipe, start=None, start_layers="start", model_arguments={**known, **recipe.model_arguments})

    def _forward(self, task: Task, image_size: str | None = None) -> float:
        """All forward passes of a step, for one image, which may have another size than the task says."""
        recipe = self._sketch(task)
        if isinstance(recipe, LearnRecipe):
            recipe = self._sketch_without_start(task)
            found = self._macs_of(recipe, recipe.sizes)
            return sum(forward_at_depths(macs_at, recipe.depths) for macs_at in found) / len(found)
        assert isinstance(recipe, FinetuneRecipe)
        if image_size is not None:
            recipe = replace(recipe, image_size=image_size)
        if task.arm.start is not None and task.arm.prunes:  # As much as the other arm's model of this depth.
            return self._forward(self._one(task.arm.start, task.data, task.depth), recipe.image_size)
        if task.arm.start is not None and task.depth is not None:  # A descendant.
            start = self._sketch_without_start(self._one(task.arm.start, task.data, None))
            sizes = () if recipe.pixels is None else (recipe.pixels,)
            # A descendant has a depth in its elastic stage alone.
            return self._macs_of(replace(start, profiles="elastic"), sizes)[0](task.depth)
        return count_start(recipe, self._open(recipe)).macs

    def _teacher(self, task: Task, recipe: TrainingRecipe) -> float:
        if task.arm.teacher is not None and recipe.distillation.weight:
            return self._forward(self._one(task.arm.teacher, task.data, task.arm.teacher_depth))
        macs = count_teacher(recipe)
        if macs is None:
            raise InputError(
                f"what the teacher {recipe.teacher} computes cannot be counted", field="study", code="unsupported"
            )
        return macs

    def _one(self, arm: str, data: str, depth: int | None) -> Task:
        """A training of another arm, whichever."""
        other = self._study.arms[arm]
        return next(task for task in seed_tasks(self._study, other, data, next(other.choices())) if task.depth == depth)

    def _macs_of(self, recipe: LearnRecipe, sizes: tuple[tuple[int, int], ...]) -> tuple[Callable[[int], int], ...]:
        """What a learngene's descendants compute, with inputs of each size; of its own where none is named."""
        arguments = json.dumps(dict(recipe.model_arguments), sort_keys=True)
        depth = recipe.depths.auxiliary if recipe.scales_all else None
        # A start gives sizes that nobody says.
        key = f"{recipe.architecture} {arguments} {recipe.start} {recipe.sample_sizes} {depth} {recipe.data} {sizes}"
        if key not in self._costs:
            self._costs[key] = learngene_macs(recipe, self._open(recipe), sizes)
        return self._costs[key]

    def _open(self, recipe: TrainingRecipe) -> "Data":
        """What a model must know of the data set, which is opened for that; its images are not kept."""
        key = recipe.data, recipe.validation_split, recipe.images
        if key not in self._data:
            from tleg.training.job import open_data_of

            none = cast("ImageSet", ())
            self._data[key] = replace(open_data_of(recipe), train=none, validation=none)
        return self._data[key]


def check_grid(study: Study, plan: Plan | None = None) -> list[Planned]:
    """Make every recipe once and return all trainings; values that are not chosen yet are the first of theirs.

    Raises InputError naming the training.
    """
    return list(_planned(study, plan or Plan(study)))


def _planned(study: Study, plan: Plan) -> Iterator[Planned]:
    for task in list_tasks(study):
        later = dict.fromkeys(task.needs.values(), _LATER)
        # What is wrong with a recipe is said before anything is counted for it.
        recipe = task.recipe(study, later, 1)
        epochs = plan.epochs(task)
        yield Planned(task, recipe if epochs is None else task.recipe(study, later, epochs), epochs)
