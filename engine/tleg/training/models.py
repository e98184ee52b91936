"""Models that a training or an evaluation is given, and whether they run at all at an image size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tleg.errors import ArchitectureError, InputError, last_words
from tleg.models.pretrained import PretrainedModel, open_folder, open_weights
from tleg.models.weights import Which
from tleg.references import Reference

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


def open_model(
    reference: Reference,
    arguments: Mapping[str, Any] | None = None,
    image_size: tuple[int, int] | None = None,
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
