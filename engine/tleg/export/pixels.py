"""Pixels and normalised images, for files that take pixels: one and the other are the same picture."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tleg.export.interface import Interface
from tleg.learngene.header import Preprocessing

WHITE = np.float32(255)


def pixels_of(images: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The pixels (batch, C, H, W) nearest to normalised images; exactly those that normalised ones were made of."""
    mean, std = _by_channel(preprocessing)
    pixels: NDArray[np.uint8] = np.clip(np.rint((images * std + mean) * WHITE), 0, 255).astype(np.uint8)
    return pixels


def normalised(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Pixels (batch, C, H, W) as a model takes them, in the order and with the rounding of `tleg.data.transforms`."""
    mean, std = _by_channel(preprocessing)
    images: NDArray[np.float32] = (pixels.astype(np.float32) / WHITE - mean) / std
    return images


def representable(images: NDArray[np.float32], interface: Interface, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Normalised images (batch, C, H, W) that a file of an interface can be given: those nearest to some images."""
    if interface.input == "float":
        return images
    return normalised(pixels_of(images, preprocessing), preprocessing)


def as_input(images: NDArray[np.float32], interface: Interface, preprocessing: Preprocessing) -> NDArray[Any]:
    """Normalised images (batch, C, H, W) as what a file of an interface takes; float32 where that is no pixels."""
    values: NDArray[Any] = pixels_of(images, preprocessing) if interface.input == "uint8" else images
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1)) if interface.layout == "nhwc" else values


def _by_channel(preprocessing: Preprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, std = (np.array(each, np.float32).reshape(-1, 1, 1) for each in (preprocessing.mean, preprocessing.std))
    return mean, std
