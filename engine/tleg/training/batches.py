"""The batches of a training: their order and augmentation, mixup, and the images in them that cannot be read."""

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tleg.data.datasets import ImageSet
from tleg.data.loader import Batch, Prefetcher, worker_options
from tleg.data.sampler import READABLE, ShuffledBatches, TrainingImages
from tleg.data.transforms import PixelTransform
from tleg.data.unreadable import UnreadableImages
from tleg.recipes.training import Recipe
from tleg.training.distributed import World
from tleg.training.job import Job
from tleg.training.observer import Observer

# Of each process, at a time: enough to refuse a set, little enough to send with every report.
_AT_ONCE: Final = 16


class TrainingBatches:
    """This process's share of every batch from step `start` on, on its device.

    Iterates over pixel values (N, C, H, W) in 0..1, labels (N,), and the indices of images that could not be read (N,).

    Raises InputError when a batch does not divide among the processes, DataError when workers cannot be had.
    """

    def __init__(
        self, job: Job[Any], transform: PixelTransform, device: torch.device, world: World, observer: Observer, start: int
    ) -> None:
        recipe, images = job.recipe.recipe, job.data.train
        self._mixup = make_mixup(recipe, len(job.data.classes))
        self.unreadable = UnreadableWarnings(images, world, observer)
        order = ShuffledBatches(
            len(images),
            recipe.batch_size,
            recipe.epochs,
            recipe.seed,
            start=start,
            repeats=recipe.repeats,
            rank=world.rank,
            size=world.size,
            epoch_images=job.epoch_images,
        )
        on_gpu = device.type == "cuda"
        loader = DataLoader(
            TrainingImages(images, transform, recipe.seed),
            batch_sampler=order,
            pin_memory=on_gpu,
            **worker_options(recipe.workers),
        )
        self._batches = Prefetcher(loader, device, channels_last=on_gpu)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    @property
    def waited(self) -> float:
        """Seconds that the training waited for images so far."""
        return self._batches.waited

    def mix(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the images of a batch, where the recipe says so; then labels are (N, classes). Draws from the global seed."""
        return (pixels, labels) if self._mixup is None else self._mixup(pixels, labels)


def make_mixup(recipe: Recipe, num_classes: int) -> Any | None:
    """Return timm's mixup and cutmix, or None."""
    if not recipe.mixing:
        return None
    from timm.data import Mixup

    return Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=num_classes)


class UnreadableWarnings:
    """Warns of each image that no process can read once, and refuses too many of them.

    Each process sees other images, and the main one alone is heard.
    """

    def __init__(self, images: ImageSet, world: World, observer: Observer) -> None:
        self._unreadable = UnreadableImages(images)
        self._world, self._observer = world, observer
        self._waiting: set[int] = set()

    def note(self, indices: Tensor, step: int) -> None:
        """Take what a batch reports. A process that is alone warns at once. Raises DataError when there are too many."""
        found = [index for index in indices.tolist() if index != READABLE]
        if self._world.size == 1:
            self._warn(found, step)
        else:
            self._waiting.update(found)

    def share(self, step: int) -> None:
        """Warn of what all processes noted. All of them call it at the same steps, and all raise DataError, or none."""
        if self._world.size == 1:
            return
        some = sorted(self._waiting)[:_AT_ONCE]
        self._waiting.difference_update(some)
        rows = torch.zeros(self._world.size, _AT_ONCE, dtype=torch.float64)
        rows[self._world.rank, : len(some)] = torch.tensor(some, dtype=torch.float64) + 1  # 0 is none.
        self._warn([int(value) - 1 for value in self._world.sum(rows).flatten().tolist() if value], step)

    def _warn(self, indices: list[int], step: int) -> None:
        for sentence in self._unreadable.add(indices):
            self._observer.warn("unreadable", f"{sentence}; another image takes its place", step)
