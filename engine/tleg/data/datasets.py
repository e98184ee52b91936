"""What a data set is: images, labels and class names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from tleg.data.splits import Split
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


def class_counts(images: ImageSet, classes: int) -> tuple[int, ...]:
    """Return the number of images of each class."""
    counts = [0] * classes
    for index in range(len(images)):
        counts[images.label(index)] += 1
    return tuple(counts)
