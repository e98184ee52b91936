"""The order of images, and randomness that depends on nothing but where one is.

Nothing here keeps a state: an epoch's order follows from (seed, epoch), an image's augmentation from (seed, epoch, index), a
step's noise from (seed, step). So the data a run sees depends neither on the number of workers nor on that of processes, and
any step can be redone.
"""

import hashlib
import random
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from tleg.data.datasets import ImageSet
from tleg.data.transforms import PixelTransform
from tleg.errors import DataError, InputError

# Pixel values (C, H, W), label, and the index of an image that could not be read, or READABLE.
Item = tuple[Tensor, int, int]
# Epoch, index of the image, and which of its versions in the step this is.
Place = tuple[int, int, int]
READABLE: Final = -1
# After so many images in a row that cannot be read, the set is not worth training on.
_ATTEMPTS: Final = 20


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
    """A process's share of every step's batch, over all epochs. A last, smaller batch of an epoch is left out.

    batch_size  images a step, over all processes
    start       the first step to yield, counted over all epochs: a run continues where it was
    repeats     repeated augmentation (Hoffer et al., arXiv 1901.09335): so many versions of an image in a step, and as many
                fewer images. Then an epoch sees one part of so many of the images, and the epochs after it the others
    rank, size  this process, of so many
    epoch_images  images in an epoch, where a run had more or fewer when it began: its steps stay. Of more images an epoch
                  leaves some out, others every time; of fewer it takes some twice

    Raises InputError when the batch does not divide into equal shares.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        epochs: int,
        seed: int,
        start: int = 0,
        *,
        repeats: int = 1,
        rank: int = 0,
        size: int = 1,
        epoch_images: int | None = None,
    ) -> None:
        if batch_size % size:
            raise InputError(
                f"a batch of {batch_size} images does not divide into {size} shares", field="batch-size", code="out-of-range"
            )
        self.images = images
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed
        self.start = start
        self.repeats = repeats
        self.epoch_images = epoch_images or images
        self._share = share_of(batch_size, rank, size)

    @property
    def steps_per_epoch(self) -> int:
        """The number of full batches in an epoch."""
        return self.epoch_images // self.batch_size

    def __len__(self) -> int:
        return max(0, self.epochs * self.steps_per_epoch - self.start)

    def __iter__(self) -> Iterator[list[Place]]:
        for epoch in range(self.start // max(1, self.steps_per_epoch), self.epochs):
            order = self._order(epoch)
            first = max(0, self.start - epoch * self.steps_per_epoch)
            for step in range(first, self.steps_per_epoch):
                # The versions of an image follow each other, whatever the size of a batch.
                chosen = (divmod(step * self.batch_size + place, self.repeats) for place in self._share)
                yield [(epoch, order[number % len(order)], version) for number, version in chosen]

    def _order(self, epoch: int) -> list[int]:
        """The images of an epoch: its part of the permutation that `repeats` epochs share."""
        block, part = divmod(epoch, self.repeats)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", block))
        order: list[int] = torch.randperm(self.images, generator=generator).tolist()
        begin = part * self.images // self.repeats
        # A part may be an image short of full batches; then it borrows the next one's.
        return order[begin:] + order[:begin] if begin else order


def share_of(batch_size: int, rank: int, size: int) -> list[int]:
    """Return the places of a batch that one of several processes computes.

    Mixup pairs place i with batch_size - 1 - i, so a share holds both, in the order in which reversing the share reverses
    the batch. A share of an odd number of images is a slice; such batches cannot be mixed.
    """
    count = batch_size // size
    if size == 1 or count % 2:
        return list(range(rank * count, (rank + 1) * count))
    half = count // 2
    ahead = list(range(rank * half, (rank + 1) * half))
    return ahead + [batch_size - 1 - place for place in reversed(ahead)]


class TrainingImages(Dataset[Item]):
    """Augmented images by place: the same place gives the same pixels, in any process.

    An image that cannot be read is replaced by another, always the same for the place, and reported.
    """

    def __init__(self, images: ImageSet, transform: PixelTransform, seed: int) -> None:
        self.images = images
        self.transform = transform
        self.seed = seed

    def __getitem__(self, place: Place) -> Item:
        epoch, index, version = place
        unreadable, reason = READABLE, ""
        for attempt in range(_ATTEMPTS):
            try:
                image = self.images.image(index)
            except DataError as error:
                unreadable, reason = place[1], reason or f" ({error})"
                index = derive_seed(self.seed, "instead", epoch, place[1], version, attempt) % len(self.images)
                continue
            seed_everything(self.seed, "image", epoch, index, *([version] if version else []))
            return self.transform(image), self.images.label(index), unreadable
        name = self.images.name(place[1])
        raise DataError(f"cannot read {name}, nor {_ATTEMPTS - 1} others that were tried instead{reason}")


class EvaluationImages(Dataset[Item]):
    """Images by index, without any randomness.

    One that cannot be read is black, and reported: it must not count.
    """

    def __init__(self, images: ImageSet, transform: PixelTransform, input_size: tuple[int, int, int]) -> None:
        self.images = images
        self.transform = transform
        self.input_size = input_size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        try:
            image = self.images.image(index)
        except DataError:
            return torch.zeros(self.input_size), self.images.label(index), index
        return self.transform(image), self.images.label(index), READABLE
