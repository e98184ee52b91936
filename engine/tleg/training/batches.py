"""The batches of a training: their order and augmentation, mixup, and the images in them that cannot be read."""

from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tleg.data.datasets import ImageSet
from tleg.data.loader import Prefetcher, worker_options
from tleg.data.sampler import READABLE, ShuffledBatches, TrainingImages
from tleg.data.transforms import training_transform
from tleg.data.unreadable import UnreadableImages
from tleg.learngene.header import Preprocessing
from tleg.recipes.training import Recipe
from tleg.training.distributed import World
from tleg.training.observer import Observer

# Of each process, at a time: enough to refuse a set, little enough to send with every report.
_AT_ONCE: Final = 16


def training_batches(
    images: ImageSet,
    recipe: Recipe,
    device: torch.device,
    world: World,
    *,
    input_size: tuple[int, int, int],
    preprocessing: Preprocessing,
    start: int,
    epoch_images: int | None = None,
) -> Prefetcher:
    """Return this process's share of every batch from step `start` on, on its device.

    Each is pixel values (N, C, H, W) in 0..1, labels (N,), and the indices of images that could not be read (N,).

    epoch_images  images in an epoch, where a run had more or fewer when it began

    Raises InputError when a batch does not divide among the processes, DataError when workers cannot be had.
    """
    order = ShuffledBatches(
        len(images),
        recipe.batch_size,
        recipe.epochs,
        recipe.seed,
        start=start,
        repeats=recipe.repeats,
        rank=world.rank,
        size=world.size,
        epoch_images=epoch_images,
    )
    loader = DataLoader(
        TrainingImages(images, training_transform(input_size, preprocessing, recipe.augmentation), recipe.seed),
        batch_sampler=order,
        pin_memory=device.type == "cuda",
        **worker_options(recipe.workers),
    )
    return Prefetcher(loader, device, channels_last=device.type == "cuda")


def make_mixup(recipe: Recipe, num_classes: int) -> Any | None:
    """Return timm's mixup and cutmix: (pixels (N, C, H, W), labels (N,)) to mixed ones, labels (N, classes); or None."""
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
