"""What a data set is: images, labels and class names, and how one is opened by name or path."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from tleg.errors import DataError, did_you_mean


class ImageSet(Protocol):
    """One split of a data set."""

    def __len__(self) -> int:
        """The number of images."""
        ...

    def image(self, index: int) -> Image.Image:
        """The image as PIL holds it, any mode and size."""
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

    name          as people call it, for headers and reports
    classes       names in the order of the labels
    channels      1 for greyscale, 3 for colour
    image_size    (height, width) where every image has the same, else None
    mean, std     by channel, of pixel values in 0..1, where they are known, else None
    notes         what somebody who trains on it should know
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


def open_data(text: str, validation_split: float | None = None, seed: int = 0) -> Data:
    """Open a data set.

    text              'fashion-mnist', 'fashion-mnist:FOLDER' (its four files), FOLDER with train/CLASS/* and val/CLASS/*, or
                      timm's name: 'tar:FILE', 'torch/cifar10', 'hfds/NAME', with ':ROOT' after it for a local folder
    validation_split  take this part of the training images for validation, class by class; a folder may then have none of
                      its own, or be FOLDER/CLASS/*
    seed              decides which

    Raises DataError with what is missing.
    """
    from tleg.data.splitting import split

    data = _open(text, splits=validation_split is not None)
    return data if validation_split is None else split(data, validation_split, seed)


def _open(text: str, *, splits: bool) -> Data:
    from tleg.data.fashion_mnist import NAME, open_fashion_mnist
    from tleg.data.folder import open_folder
    from tleg.data.timm_names import PREFIXES, is_timm_name, open_timm

    name, separator, place = text.partition(":")
    if name == NAME and not (separator and not place):
        return open_fashion_mnist(Path(place) if place else None)
    folder = Path(text)
    if folder.is_dir():
        return open_folder(folder, splits=splits)
    if is_timm_name(text):
        return open_timm(text, splits=splits)
    if folder.exists():
        raise DataError(f"{text} is a file; name the folder that holds train/ and val/, or tar:{text}")
    raise DataError(
        f"there is no folder and no known data set '{text}'; known: {NAME}, and timm's {', '.join(PREFIXES)}."
        f"{did_you_mean(text, [NAME])}"
    )
