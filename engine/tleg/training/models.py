"""Models that a training or an evaluation is given by name, and whether they run at all at an image size."""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from tleg.errors import ArchitectureError, InputError, NotFoundError, last_words
from tleg.models.architecture import normalise_name
from tleg.models.pretrained import PretrainedModel, open_folder, open_weights
from tleg.models.weights import Which
from tleg.references import Kind, Reference, expect, resolve

_LONGEST = 200


@torch.no_grad()
def check_forward(model: nn.Module, name: str, input_size: tuple[int, int, int]) -> None:
    """Run a model on two grey images of (C, H, W) pixels, in eval mode, where nothing in it is random or changes.

    Raises ArchitectureError when it fails or returns no logits (2, classes).
    """
    trained = model.training
    try:
        logits = model.eval()(torch.full((2, *input_size), 0.5))
    except Exception as error:  # A convolution, an attention, an assertion of timm's.
        if is_want_of_memory(error):
            raise
        _, height, width = input_size
        raise ArchitectureError(
            f"the model {name} cannot be run on images of {height}x{width} pixels: {last_words(error)[:_LONGEST]}; give "
            "another --image-size, or other --model-arg",
            field=("image-size", "model-arg"),
        ) from error
    finally:
        model.train(trained)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise ArchitectureError(f"the model {name} returns no logits for an image, so that it cannot be trained to classify")


def is_want_of_memory(error: Exception) -> bool:
    """Whether a forward pass failed because memory ran out, which says nothing of the model."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)


def resolve_model(text: str, *kinds: Kind, runs_dir: Path | None = None) -> Reference:
    """Return what a text names, of some kinds, with a path for what lies on the disk.

    A run that is not finished gives its last checkpoint, as a file or folder of its name that is removed when the process
    ends. Raises InputError and FileFormatError.
    """
    download = "timm" in kinds
    try:
        reference = resolve(text, runs_dir, download=download, is_timm_name=_is_timm_name)
    except NotFoundError as error:
        if download and Path(text).name == text:
            try:
                normalise_name(text)
            except ArchitectureError as unknown:
                raise NotFoundError(f"no folder and no run is called '{text}', and {unknown}") from error
        raise
    return expect(materialise(reference, kinds), *kinds)


def materialise(reference: Reference, kinds: tuple[Kind, ...] = ()) -> Reference:
    """Return the reference, or a file or folder with the last checkpoint of the run that it names.

    Raises InputError when the run has no checkpoint, or none of the kinds that are wanted, where any are.
    """
    if reference.kind != "run" or reference.run is None:
        return reference
    from tleg.training.kept import learngene_of_checkpoint, model_folder_of_checkpoint

    run = reference.run
    learns = reference.learns
    if kinds and ("learngene" if learns else "folder") not in kinds:
        expect(Reference(reference.text, "learngene" if learns else "folder", run=run), *kinds)
    place = Path(tempfile.mkdtemp(prefix="tleg-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    if learns:
        path = place / f"{run.id}.safetensors"
        learngene_of_checkpoint(run.path).save(path)
        return Reference(reference.text, "learngene", path, run=run)
    return Reference(reference.text, "folder", model_folder_of_checkpoint(run.path, "last", place / run.id), run=run)


def open_model(
    reference: Reference,
    arguments: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    which: Which | None = None,
) -> PretrainedModel:
    """Open the folder or the file of weights that a reference names. See `tleg.models.pretrained`.

    Raises InputError, ArchitectureError, FileFormatError.
    """
    if reference.kind == "weights":
        return open_weights(reference.name, reference.place, arguments, image_size, which)
    if which is not None:
        raise InputError(
            "--weights chooses among the weights of a file, TIMM_NAME:FILE; a folder holds one model",
            field="weights",
            code="conflict",
        )
    return open_folder(reference.place, arguments, image_size)


def _is_timm_name(text: str) -> bool:
    try:
        normalise_name(text)
    except ArchitectureError:
        return timm.is_model(text.partition(".")[0])  # Another tag is refused with the tags that there are.
    return True
