"""`--init prune:KEEP`: a trained model without the blocks that change least on training images."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from tleg.data.datasets import Data
from tleg.data.sampler import READABLE, EvaluationImages
from tleg.data.transforms import Normaliser, evaluation_transform
from tleg.errors import DataError
from tleg.learngene.profile import format_depth, parse_depth
from tleg.models.architecture import timm_family_of
from tleg.models.creation import create_model
from tleg.models.pruning import block_importance, keep_blocks, kept_profile, most_important
from tleg.training.init import InitialModel

# Images of the training set, spread over all, that the blocks are measured on.
IMAGES: Final = 256
_BATCH: Final = 32
_DIGITS: Final = 6


def prune(start: InitialModel, data: Data, keep: str) -> InitialModel:
    """Return the model with so many blocks, those that change most what they are given; the same ones every time.

    keep  a depth, or the blocks of every stage

    Raises ArchitectureError for a model without equal blocks, DepthError for more blocks than it has, DataError when no
    image can be read.
    """
    family, model = timm_family_of(start.architecture), start.model.eval()
    name, whole = start.architecture.name, family.counted(start.model)
    family.check_blocks(model, name, whole)
    profile = kept_profile(whole, parse_depth(keep), name)
    importance = block_importance(model, family, _batches(start, data))
    kept = most_important(importance, profile)
    arguments = {**start.architecture.arguments, **family.depth_arguments(profile)}
    shallower = create_model(name, num_classes=start.architecture.num_classes, **arguments).eval()
    keep_blocks(model, shallower, family, kept)
    shallower.pretrained_cfg = model.pretrained_cfg
    one_stage = len(whole) == 1
    depth, others = family.take_depth(arguments)
    record = {
        "blocks": [list(each) for each in kept],
        "of": format_depth(whole if not one_stage else whole[0]),
        "importance": [[round(value, _DIGITS) for value in values] for values in importance],
        "images": min(IMAGES, len(data.train)),
    }
    note = f"kept the blocks {'; '.join(', '.join(map(str, each)) for each in kept)} of {record['of']}"
    return replace(
        start,
        model=shallower,
        architecture=replace(start.architecture, arguments=others if one_stage else arguments),
        depth=depth if one_stage else start.depth,
        lineage={**start.lineage, "pruned": record},
        notes=(*start.notes, note),
    )


def _batches(start: InitialModel, data: Data) -> Iterator[Tensor]:
    """Training images as the model is evaluated on them, normalised, a batch at a time."""
    size = start.architecture.input_size
    images = EvaluationImages(data.train, evaluation_transform(size, start.preprocessing), size)
    count = min(IMAGES, len(images))
    normalise = Normaliser(start.preprocessing)
    looked = (images[index * len(images) // count] for index in range(count))
    readable = [pixels for pixels, _, broken in looked if broken == READABLE]
    # A study that counts what a training will compute has no images, and any blocks compute as much.
    if count and not readable:
        raise DataError(f"none of the {count} training images of {data.name} that were looked at can be read")
    for first in range(0, len(readable), _BATCH):
        yield normalise(torch.stack(readable[first : first + _BATCH]))
