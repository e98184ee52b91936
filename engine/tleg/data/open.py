"""Opening a data set by name or path, and taking validation images from its training images."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from tleg.data.datasets import Data, ImageSet, Wanted
from tleg.data.sources import find_source
from tleg.errors import DataError


def open_data(text: str, validation_split: float | None = None, seed: int = 0, wanted: Wanted | None = None) -> Data:
    """Open a data set.

    text              'fashion-mnist', 'fashion-mnist:FOLDER' (its four files), FOLDER with train/CLASS/* and val/CLASS/*, or
                      timm's name: 'tar:FILE', 'torch/cifar10', 'hfds/NAME', with ':ROOT' after it for a local folder;
                      'unlabelled:FOLDER' for images without classes
    validation_split  take this part of the training images for validation, class by class; a folder may then have none of
                      its own, or be FOLDER/CLASS/*
    seed              decides which
    wanted            what else is asked of it

    Raises DataError with what is missing.
    """
    wanted = replace(wanted or Wanted(), validation_split=validation_split)
    data = replace(find_source(text).open(text, wanted), exif=wanted.images.exif)
    return data if validation_split is None else split(data, validation_split, seed)


@dataclass(frozen=True, slots=True)
class Part:
    """Some images of a set, in the order of their numbers there."""

    whole: ImageSet
    chosen: Sequence[int]

    def __len__(self) -> int:
        return len(self.chosen)

    def image(self, index: int) -> Image.Image:
        """The image."""
        return self.whole.image(self.chosen[index])

    def open(self, index: int) -> Image.Image:
        """The image, not decoded where that can be had. Raises whatever decoders do."""
        opened: Image.Image = getattr(self.whole, "open", self.whole.image)(self.chosen[index])
        return opened

    def label(self, index: int) -> int:
        """The index of its class."""
        return self.whole.label(self.chosen[index])

    def name(self, index: int) -> str:
        """Its name in the whole set."""
        return self.whole.name(self.chosen[index])


def split(data: Data, part: float, seed: int) -> Data:
    """Return the data with validation images taken from its training images, the same part of every class.

    part  above 0 and below 1; every class keeps one image or more on either side
    seed  decides which images; labels and their order are all that it depends on otherwise

    Raises DataError for another part, and naming a class that has too few.
    """
    if not 0 < part < 1:
        raise DataError(
            f"a validation split is a part of the training images, above 0 and below 1, not {part:g}",
            field="validation-split",
            code="out-of-range",
        )
    by_class: dict[int, list[int]] = {}
    for index in range(len(data.train)):
        by_class.setdefault(data.train.label(index), []).append(index)
    taken: set[int] = set()
    for label, indices in sorted(by_class.items()):
        if len(indices) < 2:
            whose = f"the class '{data.classes[label]}'" if data.classes else data.name
            raise DataError(
                f"{whose} has one image alone, which cannot be split",
                field=("validation-split", "data"),
            )
        count = min(len(indices) - 1, max(1, round(part * len(indices))))
        # A text as seed, so that neighbouring seeds and classes have nothing in common.
        taken.update(random.Random(f"validation/{seed}/{label}").sample(indices, count))
    kept = [index for index in range(len(data.train)) if index not in taken]
    notes = data.notes
    if len(data.validation):
        notes = (
            *notes,
            f"the {len(data.validation)} validation images of {data.name} are left out; those of the split count",
        )
    # The seed as well: another one's images are others, and figures of the two must not be taken for one.
    name = f"{data.name} (split {part:g}{f', seed {seed}' if seed else ''})"
    return replace(
        data,
        name=name,
        train=Part(data.train, kept),
        validation=Part(data.train, sorted(taken)),
        notes=notes,
        part="validation",
        validation_split=(part, seed),
    )
