"""A job: a recipe with the data that it names, opened, and compared with what its run noted when it began."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import torch

from tleg.data.datasets import Data, Wanted
from tleg.data.decoding import typical_side
from tleg.data.fingerprint import hash_folder, hash_learngene, hash_weights, list_data
from tleg.data.open import open_data
from tleg.data.transforms import PixelTransform, training_transform
from tleg.errors import DataError, InputError, TlegError
from tleg.learngene.container import read_header
from tleg.learngene.header import Preprocessing
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import TrainingRecipe
from tleg.recipes.training import parts_of, too_few
from tleg.references import resolve
from tleg.runs.inputs import (
    ChangedInputsError,
    DataListing,
    InputChange,
    ModelListing,
    RunInputs,
    check_unchanged,
    compare_data,
    compare_models,
    read_inputs,
    write_inputs,
)
from tleg.runs.run import RunFolder
from tleg.serialize import encode
from tleg.text import format_image_size
from tleg.training.checkpoint import Checkpoints, read_progress
from tleg.training.device import Placement
from tleg.training.distributed import PREPARATION_TIMEOUT, SINGLE, World
from tleg.training.init import InitialModel, initial_model_of
from tleg.training.observer import QUIET, Observer
from tleg.training.teacher import Teacher, open_checked_features, open_checked_teacher

R = TypeVar("R", bound=TrainingRecipe)

# Beyond so many times their size a transform makes pixels, not details.
_MUCH_ENLARGED: Final = 4


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """Everything that decides what is trained: a recipe, and the data that it names.

    epoch_images  training images in an epoch, which decide its steps; None: as many as there are
    """

    recipe: R
    data: Data
    epoch_images: int | None = None

    @property
    def steps_per_epoch(self) -> int:
        """The number of full batches in an epoch."""
        return (self.epoch_images or len(self.data.train)) // self.recipe.recipe.batch_size

    @property
    def steps(self) -> int:
        """The steps of all epochs."""
        return self.steps_per_epoch * self.recipe.recipe.epochs

    def check_enough(self, processes: int = 1) -> None:
        """Refuse fewer training images than a batch holds. Raises DataError, with the largest batch that fits."""
        recipe = self.recipe.recipe
        problem = too_few(len(self.data.train), recipe.batch_size, parts_of(recipe, processes))
        if problem is not None:
            raise DataError(problem)

    def open_teacher(
        self,
        placement: Placement,
        observer: Observer = QUIET,
        *,
        input_size: tuple[int, int, int],
        preprocessing: Preprocessing,
    ) -> Teacher | None:
        """Open the teacher that the recipe names, and see how it does on some images as the student will show them to it.

        input_size, preprocessing  of the student

        Raises TeacherError when it does not fit, knows little more than chance, or has no features where those are learned.
        """
        name = self.recipe.teacher
        if name is None:
            return None
        observer.stage("teacher", f"checking the teacher {name}")
        opened = open_checked_features if self.recipe.distillation.embeds else open_checked_teacher
        teacher = opened(name, self.data, placement, input_size=input_size, preprocessing=preprocessing)
        for note in teacher.notes:
            observer.warn("teacher", note)
        return teacher

    def training_transform(
        self, input_size: tuple[int, int, int], preprocessing: Preprocessing, observer: Observer = QUIET
    ) -> PixelTransform:
        """What makes an input of a student from a training image; images that it enlarges much are worth a warning."""
        side, pixels = typical_side(self.data.train), min(input_size[1:])
        if side is not None and pixels > _MUCH_ENLARGED * side:
            observer.warn(
                "enlarged",
                f"images of {side} pixels are enlarged to {format_image_size(input_size[1:])}, which adds no detail and "
                "makes every step dearer; a smaller model, or --image-size where a command has it, may do as well",
            )
        return training_transform(input_size, preprocessing, self.recipe.recipe.augmentation)

    def record(self) -> dict[str, Any]:
        """What a learngene's header and a model's training record say of the training, whichever kind it is."""
        recipe, split = self.recipe.recipe, self.data.validation_split
        return {
            "data": self.data.name,
            **({} if split is None else {"validation_split": split[0]}),
            "images": len(self.data.train),
            "steps": self.steps,
            "recipe": {**encode(recipe), "learning_rate": recipe.peak_rate},
        }


LearnJob = Job[LearnRecipe]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneJob(Job[FinetuneRecipe]):
    """With what makes the model that the recipe starts from: it is called once the seed is set."""

    start: Callable[[Data], InitialModel]


def open_job(
    recipe: TrainingRecipe, world: World = SINGLE, observer: Observer = QUIET, folder: RunFolder | None = None
) -> LearnJob | FinetuneJob:
    """Open what a recipe names.

    folder  of the run: the inputs that it noted when it began are compared with what is there now, see `settle_inputs`

    Raises DataError, InputError and FileFormatError.
    """
    data = open_data_of(recipe, world, observer)
    epoch_images = None if folder is None else settle_inputs(folder, recipe, data, world, observer)
    if isinstance(recipe, LearnRecipe):
        return Job(recipe, data, epoch_images)
    return FinetuneJob(recipe, data, epoch_images, start=initial_model_of(recipe))


def open_data_of(recipe: TrainingRecipe, world: World = SINGLE, observer: Observer = QUIET) -> Data:
    """Open a recipe's data set; the main process first, because it may have to download it."""
    observer.stage("data", f"opening {recipe.data}")
    data = None
    wanted = Wanted(recipe.images)
    if world.is_main:
        data = open_data(recipe.data, recipe.validation_split, recipe.recipe.seed, wanted)
    world.barrier(PREPARATION_TIMEOUT)
    if data is None:
        data = open_data(recipe.data, recipe.validation_split, recipe.recipe.seed, wanted)
    for note in data.notes:
        observer.warn("data", note)
    return data


def settle_inputs(folder: RunFolder, recipe: TrainingRecipe, data: Data, world: World, observer: Observer) -> int:
    """Compare what a run finds with what it noted, note it, and return how many training images an epoch has.

    A run without a checkpoint begins anew, with whatever it finds. Of several processes the main one looks. Raises
    ChangedInputsError, in all of them, when something changed that the user has not accepted or that nobody can accept.
    """
    refusal, images = None, len(data.train)
    if world.is_main:
        try:
            images = _settle(folder, recipe, data, observer)
        except ChangedInputsError as error:
            refusal = error
    problem = world.first("" if refusal is None else str(refusal))
    if problem:
        raise refusal or InputError(problem, code="changed")
    return world.from_main(images)


def _settle(folder: RunFolder, recipe: TrainingRecipe, data: Data, observer: Observer) -> int:
    known = read_inputs(folder)
    began = bool(Checkpoints(folder.checkpoints).paths())
    listing, models = list_data(data), tuple(_list_models(recipe))
    if known is None:
        known = RunInputs()
    changes = list(_compare(known, listing, models))
    if began:
        check_unchanged(folder, changes, accepted=known.accepted)
    for each in changes:
        how = "the run goes on with that" if began else "the run has no checkpoint and begins anew with that"
        observer.warn("inputs", f"since the run began {each.text}; {how}")
    images = known.epoch_images if began and known.epoch_images is not None else len(data.train)
    # Models that could not be looked at this time stay as they were noted.
    seen = {each.role for each in models}
    unseen = tuple(each for each in known.models if began and each.role not in seen)
    threads = torch.get_num_threads()
    write_inputs(folder, RunInputs(threads=threads, epoch_images=images, data=listing, models=(*models, *unseen)))
    return images


def _compare(known: RunInputs, data: DataListing, models: tuple[ModelListing, ...]) -> Iterator[InputChange]:
    if known.data is not None:
        yield from compare_data(known.data, data)
    yield from compare_models(known.models, models)


def _list_models(recipe: TrainingRecipe) -> Iterator[ModelListing]:
    """The models that a recipe names, as far as they are files. What cannot be opened fails when it is opened."""
    for role in ("learngene", "start", "checkpoint", "teacher"):
        name = getattr(recipe, role, None)
        if name is None:
            continue
        try:
            listing = _list_learngene(role, name) if role == "learngene" else _list_model(role, name)
        except (TlegError, OSError):
            continue
        if listing is not None:
            yield listing


def _list_learngene(role: str, name: str) -> ModelListing | None:
    reference = resolve(name)
    # A run that still learns has another learngene every now and then; what starts from it has a checkpoint of its own.
    if reference.kind != "learngene":
        return None
    return hash_learngene(role, name, reference.place, read_header(reference.place))


def _list_model(role: str, name: str) -> ModelListing | None:
    """A folder, a file of weights, a learngene to start from, or a run; a model that timm downloads has a name alone."""
    reference = resolve(name, download=True)
    if reference.kind == "learngene" and role == "start":
        return _list_learngene(role, name)
    if reference.kind == "weights":
        return hash_weights(role, name, reference.place)
    if reference.kind == "folder":
        return hash_folder(role, name, reference.place)
    latest = None if reference.run is None else next(iter(Checkpoints(reference.run.checkpoints).paths()), None)
    if latest is None or role != "teacher":
        return None
    files = read_progress(latest).files
    return ModelListing(role, name, None, "/".join(files[key] for key in sorted(files) if "optimizer" not in key), "")
