"""Learngenes with inputs of another size than they were trained with.

What depends on the size is resampled as timm resamples it when it loads weights: position embeddings, and tables of
relative positions, whose terms are resampled one by one. Resampling is linear, so the layers that the new terms make are the
resampled layers, but for rounding.
"""

import math
import re
from collections.abc import Mapping

import numpy as np
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor
from torch.nn.functional import interpolate

from tleg.errors import ArchitectureError, last_words
from tleg.learngene.architecture import Architecture, Structure
from tleg.learngene.cost import CostModel
from tleg.learngene.expansion import Array
from tleg.learngene.header import LearngeneHeader
from tleg.models.architecture import build, load_state, timm_family_of, with_image_size
from tleg.models.flops import measure
from tleg.models.learngene import Learngene
from tleg.text import format_image_size

_LONGEST = 200


def resize(learngene: Learngene, image_size: tuple[int, int]) -> Learngene:
    """Return the learngene with inputs of another height and width, and what descendants cost there in its header.

    The header keeps the hash of the tensors that were learned. Raises ArchitectureError for a size that patches or windows
    do not divide, or that timm cannot resample to.
    """
    if image_size == learngene.header.image_size:
        return learngene
    header = resize_header(learngene.header, image_size)
    return Learngene(header, _resampled(learngene.tensors, learngene.header.architecture, header.architecture))


def resize_header(header: LearngeneHeader, image_size: tuple[int, int]) -> LearngeneHeader:
    """Return the header of a learngene with inputs of another height and width: see `resize`."""
    if image_size == header.image_size:
        return header
    architecture = with_image_size(header.architecture, image_size)
    return header.at_image_size(architecture, _measure(architecture))


def cost_at(architecture: Architecture, image_size: tuple[int, int]) -> CostModel:
    """Return what descendants cost with inputs of a height and width. Raises ArchitectureError."""
    resized = with_image_size(architecture, image_size)
    check_arrangement(architecture, resized)
    return _measure(resized)


def _measure(architecture: Architecture) -> CostModel:
    try:
        return measure(architecture)
    except ArchitectureError:
        raise
    except Exception as error:  # Assertions and shapes of timm and torch.
        raise size_refusal(architecture, last_words(error)[:_LONGEST]) from error


def size_refusal(architecture: Architecture, reason: str) -> ArchitectureError:
    """Why timm's model of an architecture takes no images of its size, as an error."""
    size = format_image_size(architecture.input_size[1:])
    return ArchitectureError(f"'{architecture.name}' takes no images of {size} pixels: {reason}", field="image-size")


def _resampled(tensors: Mapping[str, Array], own: Architecture, to: Architecture) -> dict[str, Array]:
    """The tensors as timm resamples them, those that do not change as they are."""
    before, after = own.structure, to.structure
    if before is not None and after is not None:
        return _of_plain_vit(tensors, before, after)
    check_arrangement(own, to)
    family = timm_family_of(to)
    stacks = {name: values for name, values in tensors.items() if family.is_block(name)}
    first = _of_term(tensors, to, 0)
    result = {name: values if name in stacks else first[name] for name, values in tensors.items()}
    if all(np.array_equal(first[name], values[0]) for name, values in stacks.items()):
        return result  # Nothing in a block depends on the size.
    terms = [first, *(_of_term(tensors, to, term) for term in range(1, max(map(len, stacks.values()))))]
    return {**result, **{name: np.stack([each[name] for each in terms[: len(values)]]) for name, values in stacks.items()}}


def _of_term(tensors: Mapping[str, Array], to: Architecture, term: int) -> dict[str, Array]:
    """The tensors that timm resamples, of every stack one term: what a model of few blocks that are all alike has."""
    family = timm_family_of(to)
    places = {name: family.place(name) for name in tensors}
    profile = family.periods
    wanted = build(to, profile, device="meta").state_dict()
    state = {}
    for name, values in tensors.items():
        place = places[name]
        if place is None:
            value = torch.from_numpy(values)
            own = family.timm_name(name, profile)
            state[own] = resample_positions(value, wanted[name].shape, to) if name == "pos_embed" else value
            continue
        value = torch.from_numpy(values[min(term, len(values) - 1)])  # What all layers share has one term.
        for layer in range(profile[place.stage]):
            state[family.timm_name(family.layer_name(place.stage, layer, place.inner), profile)] = value
    try:
        found = load_state(to, profile, state)
    except ArchitectureError as error:
        differs = re.search(r"size mismatch for ([\w.]+)", error.message)
        reason = "timm cannot resample its weights" if differs is None else f"timm does not resample its '{differs[1]}'"
        raise size_refusal(to, reason) from error
    staged = {family.staged_name(name, profile): value for name, value in found.items()}
    first = {
        name: name if place is None else family.layer_name(place.stage, 0, place.inner) for name, place in places.items()
    }
    return {name: staged[key].numpy() for name, key in first.items()}


def check_arrangement(before: Architecture, after: Architecture) -> None:
    """Refuse what timm would resample wrongly, or not at all: it takes position embeddings for those of a square.

    Plain ViTs are resampled from any shape. Raises ArchitectureError.
    """
    (height, width), (rows, columns) = before.input_size[1:], after.input_size[1:]
    resampled_by_timm = timm_family_of(before).sized and before.structure is None
    if not resampled_by_timm or (height, width) == (rows, columns):
        return
    if height != width:
        raise size_refusal(after, f"timm resamples what was learned on square images, and these were {height}x{width}")
    if rows != columns and rows * columns == height * width:
        raise size_refusal(
            after, f"these are as many pixels as {height}x{width} in another shape, which timm does not resample"
        )


def _of_plain_vit(tensors: Mapping[str, Array], before: Structure, after: Structure) -> dict[str, Array]:
    """The tensors of a plain ViT, whose position embedding alone depends on the size; that of prefix tokens stays."""
    result = dict(tensors)
    if "pos_embed" in tensors:
        resampled = resample_abs_pos_embed(
            torch.from_numpy(tensors["pos_embed"]),
            new_size=list(_grid(after)),
            old_size=list(_grid(before)),
            num_prefix_tokens=before.prefix_tokens if before.position == "all" else 0,
        )
        result["pos_embed"] = resampled.numpy()
    return result


def resample_positions(values: Tensor, shape: torch.Size, to: Architecture) -> Tensor:
    """A position embedding as timm resamples those of other families: of patches alone, in a row (CaiT) or a grid (PiT).

    One with prefix tokens is left to timm, which knows how many there are.
    """
    if values.shape == shape:
        return values
    if values.ndim == 4:
        return interpolate(values, shape[2:], mode="bicubic", antialias=True, align_corners=False)
    height, width = to.input_size[1:]
    rows = round(math.sqrt(shape[1] * height / width))
    if math.isqrt(values.shape[1]) ** 2 != values.shape[1] or rows * round(rows * width / height) != shape[1]:
        return values
    resampled: Tensor = resample_abs_pos_embed(values, new_size=[rows, shape[1] // rows], num_prefix_tokens=0)
    return resampled


def _grid(structure: Structure) -> tuple[int, int]:
    """Rows and columns of patches."""
    height, width = (image // patch for image, patch in zip(structure.image_size, structure.patch_size, strict=True))
    return height, width
