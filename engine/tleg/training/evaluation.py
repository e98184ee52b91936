"""Evaluation: several models in one pass over the data, every image counted once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from tleg.data.dataset import ImageSet
from tleg.data.loading import batches, worker_options
from tleg.data.order import EvaluationImages
from tleg.data.transforms import evaluation_transform
from tleg.errors import DataError
from tleg.header import Preprocessing
from tleg.training.device import Placement

Key = TypeVar("Key")
# pixel values (N, C, H, W) in 0..1 -> logits (N, classes)
Predictor = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Score:
    """What a model reached: images seen, top-1 and top-5 accuracy in percent (top-5 None below six classes), mean loss."""

    images: int
    top1: float
    top5: float | None
    loss: float


@torch.inference_mode()
def evaluate(
    predictors: Mapping[Key, Predictor],
    images: ImageSet,
    placement: Placement,
    *,
    input_size: tuple[int, int, int],
    preprocessing: Preprocessing,
    batch_size: int = 256,
    workers: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Key, Score]:
    """Return the score of every predictor. The data is decoded once.

    limit     look at so many images only, spread evenly over the set
    progress  called with (images done, images in all)

    Raises DataError when there are no images.
    """
    count = len(images) if limit is None else min(limit, len(images))
    if count == 0:
        raise DataError("there are no images to evaluate on")
    dataset = EvaluationImages(images, evaluation_transform(input_size, preprocessing), input_size)
    chosen = range(len(images)) if count == len(images) else [index * len(images) // count for index in range(count)]
    loader = DataLoader(Subset(dataset, chosen), batch_size=batch_size, **worker_options(workers))
    sums = {key: torch.zeros(3, dtype=torch.float64) for key in predictors}
    classes, done = 0, 0
    for pixels, labels, _ in batches(loader):
        pixels, labels = pixels.to(placement.device), labels.to(placement.device)
        for key, predict in predictors.items():
            with placement.autocast():
                logits = predict(pixels).float()
            classes = logits.shape[1]
            sums[key] += torch.tensor(_batch_sums(logits, labels), dtype=torch.float64)
        done += len(labels)
        if progress is not None:
            progress(done, count)
    return {key: _score(total, done, classes) for key, total in sums.items()}


def _batch_sums(logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return ranked[:, 0].sum().item(), ranked.sum().item(), F.cross_entropy(logits, labels, reduction="sum").item()


def _score(sums: Tensor, images: int, classes: int) -> Score:
    top1, top5, loss = (sums / images).tolist()
    return Score(images, 100 * top1, 100 * top5 if classes > 5 else None, loss)
