"""The order of images, and randomness that depends on nothing but where one is.

Nothing here keeps a state: an epoch's order follows from (seed, epoch), an image's augmentation from (seed, epoch, index), a
step's noise from (seed, step). So the data a run sees does not depend on the number of workers, and any step can be redone.
"""

import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from tleg.data.dataset import ImageSet
from tleg.data.transforms import PixelTransform

Item = tuple[torch.Tensor, int]
Place = tuple[int, int]


def derive_seed(*counters: int | str) -> int:
    """Return a seed of 63 bits for a place in a run; different places have unrelated seeds."""
    digest = hashlib.blake2b("/".join(map(str, counters)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_everything(*counters: int | str) -> None:
    """Seed the global generators of random, numpy and torch (CPU and CUDA) for a place in a run."""
    seed = derive_seed(*counters)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    # torch.manual_seed also walks through every kind of device, which takes a millisecond: longer than an image does.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


class ShuffledBatches(Sampler[list[Place]]):
    """Batches of (epoch, index) over all epochs, every image once an epoch. A last, smaller batch is left out.

    start  the first step to yield, counted over all epochs: a run continues where it was
    """

    def __init__(self, images: int, batch_size: int, epochs: int, seed: int, start: int = 0) -> None:
        self.images = images
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.start = start

    @property
    def steps_per_epoch(self) -> int:
        """The number of full batches in an epoch."""
        return self.images // self.batch_size

    def __len__(self) -> int:
        return self.epochs * self.steps_per_epoch - self.start

    def __iter__(self) -> Iterator[list[Place]]:
        for epoch in range(self.start // max(1, self.steps_per_epoch), self.epochs):
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            order = torch.randperm(self.images, generator=generator).tolist()
            first = self.start - epoch * self.steps_per_epoch if epoch * self.steps_per_epoch < self.start else 0
            for step in range(first, self.steps_per_epoch):
                chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
                yield [(epoch, index) for index in chosen]


class TrainingImages(Dataset[Item]):
    """Augmented images by (epoch, index): the same place gives the same pixels, in any process."""

    def __init__(self, images: ImageSet, transform: PixelTransform, seed: int) -> None:
        self.images = images
        self.transform = transform
        self.seed = seed

    def __getitem__(self, place: Place) -> Item:
        epoch, index = place
        seed_everything(self.seed, "image", epoch, index)
        return self.transform(self.images.image(index)), self.images.label(index)


class EvaluationImages(Dataset[Item]):
    """Images by index, without any randomness."""

    def __init__(self, images: ImageSet, transform: PixelTransform) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        return self.transform(self.images.image(index)), self.images.label(index)
