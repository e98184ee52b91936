"""From a recipe to its job: open what it names, train, and leave the result in the run's folder."""

from pathlib import Path

from tleg.data.datasets import Data, Wanted
from tleg.data.open import open_data
from tleg.recipes.recipes import FinetuneRecipe, LearnRecipe, TrainingRecipe
from tleg.runs.run import LEARNGENE, MODEL, RunFolder
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import PREPARATION_TIMEOUT, SINGLE, World
from tleg.training.finetune import FinetuneJob, finetune
from tleg.training.init import initial_model_of
from tleg.training.inputs import settle_inputs
from tleg.training.learn import LearnJob, learn_to_file
from tleg.training.observer import QUIET, Observer


def run_job(
    folder: RunFolder, recipe: TrainingRecipe, placement: Placement, world: World, observer: Observer
) -> tuple[Path, str]:
    """Train and return the result, in the run's folder, and a sentence on what it reached.

    Raises what `learn_to_file` and `finetune` raise.
    """
    data = open_data_of(recipe, world, observer)
    epoch_images = settle_inputs(folder, recipe, data, world, observer)
    checkpoints = Checkpoints(folder.checkpoints, recipe.keeping)
    if world.is_main:
        checkpoints.tidy()
    if isinstance(recipe, LearnRecipe):
        output = folder.exports / LEARNGENE
        learngene = learn_to_file(
            LearnJob.of(recipe, data, epoch_images),
            placement,
            output,
            overwrite=True,
            depths=recipe.evaluated,
            observer=observer,
            checkpoints=checkpoints,
            world=world,
        )
        reached = learngene.header.reached
        if reached is None:
            return output, "finished"
        best = max(reached.top1, key=lambda depth: reached.top1[depth])
        return output, f"top-1 {reached.top1[best]:.2f} % at depth {best}, on {reached.images} images"
    output = folder.exports / MODEL
    score = finetune(
        finetune_job(recipe, data, epoch_images),
        placement,
        output,
        overwrite=True,
        observer=observer,
        checkpoints=checkpoints,
        world=world,
    )
    assert score.top1 is not None, "finetune refuses a model without figures"
    assert score.loss is not None
    return output, f"top-1 {score.top1:.2f} %, loss {score.loss:.4f}, on {score.images} images"


def finetune_job(recipe: FinetuneRecipe, data: Data, epoch_images: int | None = None) -> FinetuneJob:
    """Return the job that a recipe describes, on its data."""
    return FinetuneJob(
        data,
        initial_model_of(recipe),
        recipe.teacher,
        recipe.distillation,
        recipe.recipe,
        recipe.layer_decay,
        recipe.frozen,
        recipe.keeping,
        epoch_images,
    )


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
