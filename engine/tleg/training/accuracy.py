"""Evaluation: several models in one pass over the data, every image counted once, on any number of processes."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from tleg.data.datasets import ImageSet
from tleg.data.loader import batches, worker_options
from tleg.data.sampler import READABLE, EvaluationImages
from tleg.data.transforms import evaluation_transform
from tleg.data.unreadable import ALL_REASONS, UnreadableImages, describe_reasons
from tleg.errors import DataError, TlegError
from tleg.learngene.header import Preprocessing
from tleg.serialize import LEFT_OUT_WHEN_NONE
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World

Key = TypeVar("Key")
# pixel values (N, C, H, W) in 0..1 -> logits (N, classes)
Predictor = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Score:
    """What a model reached.

    images             that were counted; top-1 and top-5 accuracy in percent (top-5 None below six classes), mean loss
    images_per_second  of all models together: each image is decoded once and seen by each
    unreadable         images that could not be read, and do not count
    reasons            why: reason -> how many of them
    per_class          top-1 accuracy in percent by class, None for a class without images
    nonfinite          images for which the model's outputs held NaN or infinity. With one or more, accuracies and loss are
                       None: the largest of outputs that are no numbers is whatever comes first, as a rule class 0
    cosine             mean cosine of the model's features and the teacher's, in -1..1, where that is what is learned
    """

    images: int
    top1: float | None
    top5: float | None
    loss: float | None
    images_per_second: float = 0.0
    unreadable: int = 0
    per_class: tuple[float | None, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    nonfinite: int = 0
    cosine: float | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


class Tally(ABC):
    """What is summed over the images that one process saw."""

    @abstractmethod
    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch of outputs (N, size) with their labels (N,)."""

    @abstractmethod
    def score(self, world: World, reasons: Mapping[str, int], speed: float) -> Score:
        """Return the score of all processes together."""


class CosineTally(Tally):
    """Sums of cosines, which are what its predictors give: (N, 1)."""

    def __init__(self) -> None:
        # Images, the sum of their cosines, and how many are not finite.
        self._sums = torch.zeros(3, dtype=torch.float64)

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        broken = ~outputs.isfinite().all(dim=1)
        self._sums += torch.stack(
            [broken.new_tensor(len(broken), dtype=torch.float64), outputs.double().sum(), broken.sum()]
        ).cpu()

    def score(self, world: World, reasons: Mapping[str, int], speed: float) -> Score:
        """Return the mean cosine of all processes together. Raises DataError where no image can be read."""
        images, total, nonfinite = world.sum(self._sums).tolist()
        if not images:
            raise DataError(f"none of the images to evaluate on can be read: {describe_reasons(reasons)}")
        cosine = None if nonfinite else total / images
        missing = sum(reasons.values())
        return Score(int(images), None, None, None, speed, missing, (), reasons, int(nonfinite), cosine)


def monitored(scores: Iterable[Score]) -> float | None:
    """What chooses the best of models: their mean cosine where features are learned, else their mean accuracy in percent."""
    every = list(scores)
    cosines = [score.cosine for score in every if score.cosine is not None]
    return sum(cosines) / len(cosines) if cosines and len(cosines) == len(every) else mean_top1(every)


def mean_top1(scores: Iterable[Score]) -> float | None:
    """The mean accuracy of models that were evaluated together, as of one model at several depths, in percent.

    None where there are none, and where one of them has none: the mean of the others would be another figure.
    """
    values = [score.top1 for score in scores]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def require_finite(scores: Mapping[Any, Score], what: str) -> None:
    """Refuse scores of outputs that are not finite. `what` is the model; keys that are numbers are its depths.

    Raises TlegError that names how many images, at which depths.
    """
    if text := describe_nonfinite(scores, what):
        raise TlegError(
            f"{text}, so it has no accuracy: its weights may hold such values, or the precision is too low",
            code="not-finite",
        )


def describe_nonfinite(scores: Mapping[Any, Score], what: str) -> str | None:
    """Say for how many images a model's outputs were not finite, at which depths; None where all were."""
    broken = {key: score for key, score in scores.items() if score.nonfinite}
    if not broken:
        return None
    at = [
        f"{score.nonfinite} of {score.images} images{f' at depth {key}' if isinstance(key, int) else ''}"
        for key, score in broken.items()
    ]
    more = f" and at {len(at) - 3} more depths" if len(at) > 3 else ""
    return f"the outputs of {what} are not finite (NaN or infinite) for {', '.join(at[:3])}{more}"


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
    world: World = SINGLE,
    progress: Callable[[int, int], None] | None = None,
    tally: Callable[[], Tally] | None = None,
) -> dict[Key, Score]:
    """Return the score of every predictor, the same in every process. The data is decoded once.

    batch_size  images at once; fewer where the memory of a GPU does not hold them
    limit       look at so many images only, spread evenly over the set
    world       the processes that share the work: each sees other images, none twice, and their counts are added
    progress    called with (images done, images in all) of this process
    tally       what is summed over the outputs of a predictor; None is accuracies and the loss

    Raises DataError when there are no images, or too many that cannot be read.
    """
    count = len(images) if limit is None else min(limit, len(images))
    if count == 0:
        raise DataError("there are no images to evaluate on")
    dataset = EvaluationImages(images, evaluation_transform(input_size, preprocessing), input_size)
    chosen = range(len(images)) if count == len(images) else [index * len(images) // count for index in range(count)]
    mine = chosen[world.rank :: world.size]
    loader = DataLoader(Subset(dataset, mine), batch_size=batch_size, **worker_options(workers))
    tallies: dict[Key, Tally] = {key: (tally or AccuracyTally)() for key in predictors}
    unreadable, done, size, began = UnreadableImages(images), 0, batch_size, time.monotonic()
    for pixels, labels, broken in batches(loader) if len(mine) else ():
        unreadable.add(broken.tolist())
        done += len(labels)
        readable = broken == READABLE
        if not readable.all():
            pixels, labels = pixels[readable], labels[readable]
        while len(labels):
            some = labels[:size].to(placement.device)
            try:
                answers = predict_all(predictors, pixels[:size], placement)
            except torch.OutOfMemoryError:
                # Training may leave less memory than so many images at once take, however many a step has.
                if (size := min(size, len(labels)) // 2) == 0:
                    raise
                torch.cuda.empty_cache()
                continue
            for key, logits in answers.items():
                tallies[key].add(logits, some)
            pixels, labels = pixels[size:], labels[size:]
        if progress is not None:
            progress(done, len(mine))
    elapsed = time.monotonic() - began
    reasons = [float(unreadable.reasons[reason]) for reason in ALL_REASONS]
    summed = world.sum(torch.tensor(reasons, dtype=torch.float64)).tolist()
    why = {reason: int(number) for reason, number in zip(ALL_REASONS, summed, strict=True) if number}
    return {key: each.score(world, why, count / max(elapsed, 1e-9)) for key, each in tallies.items()}


def predict_all(predictors: Mapping[Key, Predictor], pixels: Tensor, placement: Placement) -> dict[Key, Tensor]:
    """pixels (N, C, H, W) in 0..1 -> what every predictor makes of them, in float32, computed where `placement` says."""
    pixels, answers = pixels.to(placement.device), {}
    for key, predict in predictors.items():
        with placement.autocast():
            answers[key] = predict(pixels).float()
    return answers


class AccuracyTally(Tally):
    """Sums over the images that one process saw."""

    def __init__(self) -> None:
        # Per class: images, right answers, right within the first five.
        self._counts = torch.zeros(0, 3, dtype=torch.float64)
        # The loss, and how many images had outputs that are not finite.
        self._sums = torch.zeros(2, dtype=torch.float64)

    def add(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch of logits (N, classes) with their labels (N,)."""
        logits = outputs
        classes = logits.shape[1]
        if not len(self._counts):
            self._counts = torch.zeros(classes, 3, dtype=torch.float64)
        right = logits.topk(min(5, classes), dim=1).indices == labels[:, None]
        values = torch.stack([torch.ones_like(labels), right[:, 0], right.any(1)], dim=1).double().cpu()
        self._counts.index_add_(0, labels.cpu(), values)
        broken = ~logits.isfinite().all(dim=1)
        loss = F.cross_entropy(logits, labels, reduction="sum").double()
        if not loss.isfinite() and not broken.any():
            loss = F.cross_entropy(
                logits.double(), labels, reduction="sum"
            )  # Finite outputs, further apart than float32 goes.
        self._sums += torch.stack([loss, broken.sum().double()]).cpu()

    def score(self, world: World, reasons: Mapping[str, int], speed: float) -> Score:
        """Return the score of all processes together."""
        # A process without images has not seen how many classes there are.
        classes = int(world.most(torch.tensor([len(self._counts)])).item())
        counts = torch.zeros(classes, 3, dtype=torch.float64)
        counts[: len(self._counts)] = self._counts
        counts = world.sum(counts)
        loss, nonfinite = world.sum(self._sums).tolist()
        missing = sum(reasons.values())
        images, right, among = counts.sum(0).tolist()
        if not images:
            raise DataError(f"none of the images to evaluate on can be read: {describe_reasons(reasons)}")
        seen_all = Score(int(images), None, None, None, speed, missing, (None,) * classes, reasons, int(nonfinite))
        if nonfinite:
            return seen_all
        each = tuple(100 * good / seen if seen else None for seen, good, _ in counts.tolist())
        top5 = 100 * among / images if classes > 5 else None
        return replace(seen_all, top1=100 * right / images, top5=top5, loss=loss / images, per_class=each)
