"""What a data set implies for a model that is trained on it: input size, channels, preprocessing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from tleg.data.dataset import Data
from tleg.errors import InputError
from tleg.header import Preprocessing


def model_arguments(data: Data, given: Mapping[str, Any], *, sized: bool) -> dict[str, Any]:
    """Return timm arguments with what the data implies added: channels, and the image size where a model has one."""
    arguments = dict(given)
    arguments.setdefault("in_chans", data.channels)
    if sized and data.image_size is not None:
        height, width = data.image_size
        arguments.setdefault("img_size", height if height == width else [height, width])
    return arguments


def preprocessing_for(data: Data, channels: int) -> Preprocessing:
    """Return the preprocessing of a model that is trained from scratch on the data.

    Mean and std are the data's where they are known, ImageNet's otherwise; images of one known size are not cropped.
    """
    mean, std = data.mean or IMAGENET_DEFAULT_MEAN, data.std or IMAGENET_DEFAULT_STD
    if len(mean) != channels:
        mean, std = (_mean(mean),) * channels, (_mean(std),) * channels
    return as_read(Preprocessing(tuple(mean), tuple(std), crop_pct=0.875 if data.image_size is None else 1.0), data)


def as_read(preprocessing: Preprocessing, data: Data) -> Preprocessing:
    """Return a preprocessing that says how the images of the data are read, whatever those of an earlier training were."""
    return replace(preprocessing, exif=data.exif, pixel_range=data.pixel_range)


def check_channels(channels: int) -> None:
    """Refuse models that take neither greyscale nor colour images. Raises InputError."""
    if channels not in (1, 3):
        raise InputError(f"images have 1 or 3 channels, and this model takes {channels}")


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
