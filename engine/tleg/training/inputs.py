"""Whether what a run depends on is what it was when the run began: noted at the start, compared when it goes on."""

from collections.abc import Iterator

import torch

from tleg.data.datasets import Data
from tleg.data.fingerprint import hash_folder, hash_learngene, hash_weights, list_data
from tleg.errors import InputError, TlegError
from tleg.learngene.container import read_header
from tleg.recipes.recipes import TrainingRecipe
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
from tleg.training.checkpoint import Checkpoints, read_progress
from tleg.training.distributed import World
from tleg.training.observer import Observer


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
    kept = tuple(each for each in known.models if began and each.role not in seen)
    threads = torch.get_num_threads()
    write_inputs(folder, RunInputs(threads=threads, epoch_images=images, data=listing, models=(*models, *kept)))
    return images


def _compare(known: RunInputs, data: DataListing, models: tuple[ModelListing, ...]) -> Iterator[InputChange]:
    if known.data is not None:
        yield from compare_data(known.data, data)
    yield from compare_models(known.models, models)


def _list_models(recipe: TrainingRecipe) -> Iterator[ModelListing]:
    """The models that a recipe names, as far as they are files. What cannot be opened is told when it is opened."""
    for role in ("learngene", "checkpoint", "teacher"):
        name = getattr(recipe, role, None)
        if name is None:
            continue
        try:
            listing = _list_learngene(name) if role == "learngene" else _list_model(role, name)
        except (TlegError, OSError):
            continue
        if listing is not None:
            yield listing


def _list_learngene(name: str) -> ModelListing | None:
    reference = resolve(name)
    # A run that still learns has another learngene every now and then; what starts from it has a checkpoint of its own.
    if reference.kind != "learngene":
        return None
    return hash_learngene(name, reference.place, read_header(reference.place))


def _list_model(role: str, name: str) -> ModelListing | None:
    """A folder, a file of weights, or a run; a model that timm downloads has a name alone."""
    reference = resolve(name, download=True)
    if reference.kind == "weights":
        return hash_weights(role, name, reference.place)
    if reference.kind == "folder":
        return hash_folder(role, name, reference.place)
    latest = None if reference.run is None else next(iter(Checkpoints(reference.run.checkpoints).paths()), None)
    if latest is None or role != "teacher":
        return None
    files = read_progress(latest).files
    return ModelListing(role, name, None, "/".join(files[key] for key in sorted(files) if "optimizer" not in key), "")
