"""What a data set is: images, labels and class names, and how one is opened by name or path."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from PIL import Image

from tleg.data.splits import Split
from tleg.errors import DataError, did_you_mean
from tleg.file_names import readable_name
from tleg.recipes.images import ImageReading

# What a split is called where figures are stated: 'pets validation'.
PARTS: Mapping[Split, str] = {"train": "training", "val": "validation", "test": "test"}


class ImageSet(Protocol):
    """One split of a data set."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def image(self, index: int) -> Image.Image:
        """The image as PIL holds it, of at most eight bits a channel, any mode and size."""
        ...

    def label(self, index: int) -> int:
        """The index of its class."""
        ...

    def name(self, index: int) -> str:
        """What to call it in a message: its path, or 'image 17'."""
        ...


@dataclass(frozen=True, slots=True)
class Data:
    """A data set: training and validation images with the same classes.

    name              as people call it, for headers and reports
    classes           names in the order of the labels
    channels          1 for greyscale, 3 for colour
    image_size        (height, width) where every image has the same, else None
    mean, std         by channel, of pixel values in 0..1, where they are known, else None
    notes             what somebody who trains on it should know
    part              what the validation images are: 'validation', 'test' or 'training'
    exif              whether images are turned upright as their EXIF orientation says, by whoever makes inputs of them
    pixel_range       the values that became black and white in images of more than eight bits; None where there are none
    validation_split  the part of the training images that the validation images were taken from, and the seed; else None
    left_out          what lies among the images and was left out: reason -> how many
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    validation: ImageSet
    channels: int = 3
    image_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    part: str = "validation"
    exif: bool = True
    pixel_range: tuple[float, float] | None = None
    validation_split: tuple[float, int] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a data set when it is opened.

    images            how its files are read
    validation_split  validation images are taken from the training images, so that there need not be others
    evaluation        only the images to evaluate on are needed: a folder may hold one split alone
    split             evaluate on this split; None is the validation images, or else the test images
    classes           names that the model knows, in its order: a folder with one split alone need not hold them all
    """

    images: ImageReading = field(default_factory=ImageReading)
    validation_split: float | None = None
    evaluation: bool = False
    split: Split | None = None
    classes: tuple[str, ...] = ()


def open_data(text: str, validation_split: float | None = None, seed: int = 0, wanted: Wanted | None = None) -> Data:
    """Open a data set.

    text              'fashion-mnist', 'fashion-mnist:FOLDER' (its four files), FOLDER with train/CLASS/* and val/CLASS/*, or
                      timm's name: 'tar:FILE', 'torch/cifar10', 'hfds/NAME', with ':ROOT' after it for a local folder
    validation_split  take this part of the training images for validation, class by class; a folder may then have none of
                      its own, or be FOLDER/CLASS/*
    seed              decides which
    wanted            what else is asked of it

    Raises DataError with what is missing.
    """
    from tleg.data.splitting import split

    wanted = replace(wanted or Wanted(), validation_split=validation_split)
    data = replace(_open(text, wanted), exif=wanted.images.exif)
    return data if validation_split is None else split(data, validation_split, seed)


def data_name(text: str) -> str:
    """Return what a data set is called, without opening it: the name that `open_data` gives it."""
    name, _, place = text.partition(":")
    if name == "tar":
        return readable_name(Path(place).stem)
    if Path(text).is_dir():
        return readable_name(Path(text).resolve().name)
    return name.partition("/")[2] or name


def class_counts(images: ImageSet, classes: int) -> tuple[int, ...]:
    """Return the number of images of each class."""
    counts = [0] * classes
    for index in range(len(images)):
        counts[images.label(index)] += 1
    return tuple(counts)


def _open(text: str, wanted: Wanted) -> Data:
    from tleg.data.fashion_mnist import NAME, open_fashion_mnist
    from tleg.data.folder import open_folder
    from tleg.data.timm_names import PREFIXES, is_timm_name, open_timm

    name, separator, place = text.partition(":")
    if name == NAME and not (separator and not place):
        data = open_fashion_mnist(Path(place) if place else None)
        return replace(data, validation=data.train, part=PARTS["train"]) if wanted.split == "train" else data
    folder = Path(text)
    if folder.is_dir():
        return open_folder(folder, wanted)
    if is_timm_name(text):
        return open_timm(text, wanted)
    if folder.exists():
        raise DataError(f"{text} is a file; name the folder that holds train/ and val/, or tar:{text}")
    raise DataError(
        f"there is no folder and no known data set '{text}'; known: {NAME}, and timm's {', '.join(PREFIXES)}."
        f"{did_you_mean(text, [NAME])}"
    )
