"""Outputs that are divided by a temperature inside an export.

The classifier is a linear map, so its weights and its bias are divided: W x / T + b / T = (W x + b) / T. Nothing is added to
the graph, and what an export must compute is the model with such a classifier.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tleg.errors import InputError, VerificationError
from tleg.learngene.calibration import Calibration, calibration_in
from tleg.learngene.families import family_of
from tleg.learngene.profile import Depth
from tleg.models.learngene import Learngene

if TYPE_CHECKING:
    from torch import nn

# Relative to the largest output: float32 rounds the weights once more.
_TOLERANCE: Final = 1e-4


def temperature_inside(
    record: Mapping[str, Any],
    depths: Iterable[Depth | None],
    *,
    num_classes: int,
    image_size: tuple[int, int],
    every_depth: bool = False,
) -> float:
    """Return the temperature that goes into exports, by the record of a training.

    depths       that are built; None is a model whose depth is not known
    num_classes  of the exports, and height and width of their inputs
    every_depth  whether one file holds every depth

    Raises InputError where the model keeps none for this head and these inputs, and where depths have different ones.
    """
    found = calibration_in(record)
    if found is None or not found.fits(num_classes, image_size):
        known = "" if found is None else f" for a model of {num_classes} classes and inputs of this size"
        raise InputError(
            f"--temperature inside needs a temperature, and the model keeps none{known}: fit one with tleg evaluate "
            "--calibrate --save-temperature",
            field="temperature",
            code="missing",
        )
    values = _temperatures(found, depths, every_depth=every_depth)
    if len(values) > 1:
        raise InputError(
            "--temperature inside takes one temperature, and these depths have their own; build each by itself, or fit one "
            "to all with tleg evaluate --calibrate --save-temperature --force",
            field=("temperature", "depth"),
            code="conflict",
        )
    return values.pop()


def _temperatures(found: Calibration, depths: Iterable[Depth | None], *, every_depth: bool) -> set[float]:
    values = {found.at(depth) for depth in depths if depth is not None or not every_depth}
    return values | ({found.temperature, *(found.by_depth or {}).values()} if every_depth else set())


def divide_learngene(learngene: Learngene, temperature: float | None) -> Learngene:
    """Return a learngene whose descendants' outputs are divided; None leaves it. Its header stays that of the file."""
    if temperature is None:
        return learngene
    classifier = family_of(learngene.header.architecture).classifier
    names = [f"{classifier}.weight", f"{classifier}.bias"]
    changed = {name: learngene.tensors[name] / np.float32(temperature) for name in names if name in learngene.tensors}
    return replace(learngene, tensors={**learngene.tensors, **changed})


def divide_model(model: "nn.Module", temperature: float | None, input_size: tuple[int, int, int]) -> None:
    """Divide the outputs of a model that timm made, in float32 and eval mode; None leaves it.

    Raises InputError for a classifier that is no linear map, VerificationError where its outputs are not the quotients.
    """
    if temperature is None:
        return
    import torch
    from torch import nn

    classifier = model.get_classifier()  # type: ignore[operator]  # timm's models have it.
    if not isinstance(classifier, nn.Linear | nn.Conv2d):
        raise InputError(
            f"--temperature inside divides a linear classifier, and this model's is a {type(classifier).__name__}",
            field="temperature",
            code="unsupported",
        )
    images = torch.randn(2, *input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images) / temperature
        classifier.weight /= temperature
        if classifier.bias is not None:
            classifier.bias /= temperature
        difference = (model(images) - expected).abs().max()
        if not difference <= _TOLERANCE * expected.abs().max():
            raise VerificationError("with its classifier divided the model gives something else than its outputs divided")
