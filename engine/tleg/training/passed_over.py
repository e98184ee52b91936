"""The images that cannot be read in a training, of all its processes: told once each, and too many of them refused."""

from typing import Final

import torch
from torch import Tensor

from tleg.data.datasets import ImageSet
from tleg.data.sampler import READABLE
from tleg.data.unreadable import UnreadableImages
from tleg.training.distributed import World
from tleg.training.observer import Observer

# Of each process, at a time: enough to refuse a set, little enough to send with every report.
_AT_ONCE: Final = 16


class PassedOver:
    """What batches report; each process sees other images, and the main one alone is heard."""

    def __init__(self, images: ImageSet, world: World, observer: Observer) -> None:
        self._unreadable = UnreadableImages(images)
        self._world, self._observer = world, observer
        self._waiting: set[int] = set()

    def note(self, indices: Tensor, step: int) -> None:
        """Take what a batch reports. A process that is alone tells at once. Raises DataError when there are too many."""
        found = [index for index in indices.tolist() if index != READABLE]
        if self._world.size == 1:
            self._tell(found, step)
        else:
            self._waiting.update(found)

    def share(self, step: int) -> None:
        """Tell what all processes noted. All of them call it at the same steps, and all raise DataError, or none."""
        if self._world.size == 1:
            return
        some = sorted(self._waiting)[:_AT_ONCE]
        self._waiting.difference_update(some)
        rows = torch.zeros(self._world.size, _AT_ONCE, dtype=torch.float64)
        rows[self._world.rank, : len(some)] = torch.tensor(some, dtype=torch.float64) + 1  # 0 is none.
        self._tell([int(value) - 1 for value in self._world.sum(rows).flatten().tolist() if value], step)

    def _tell(self, indices: list[int], step: int) -> None:
        for sentence in self._unreadable.add(indices):
            self._observer.warn("unreadable", f"{sentence}; another image takes its place", step)
