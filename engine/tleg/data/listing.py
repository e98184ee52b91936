"""The listing of a data set: names, sizes and numbers of its images, without decoding one."""

import hashlib
import os
from typing import Any

from tleg.data.dataset import Data, ImageSet
from tleg.data.splitting import Part
from tleg.runs.inputs import ClassListing, DataListing, SplitListing
from tleg.schema import encode

_HEX_DIGITS = 16


def list_data(data: Data) -> DataListing:
    """Return the listing of a data set. An image file costs one look at its size; a million take some seconds."""
    form = {"channels": data.channels, "image_size": data.image_size, "mean": data.mean, "std": data.std}
    return DataListing(
        data.classes,
        encode(form),
        _list(data.train, len(data.classes)),
        _list(data.validation, len(data.classes)),
        divided=isinstance(data.train, Part),
    )


def _list(images: ImageSet, classes: int) -> SplitListing:
    """Names are those of the files alone: a class folder that is renamed holds the same images."""
    counts = [0] * classes
    digests = [hashlib.sha256() for _ in range(classes)]
    labels = bytearray()
    for index in range(len(images)):
        label = images.label(index)
        path = images.name(index)
        counts[label] += 1
        digests[label].update(os.fsencode(f"{os.path.basename(path)}/{_size(path)}\0"))
        labels += label.to_bytes(4, "little")
    whole = hashlib.sha256(bytes(labels))
    pixels = _pixels(images)
    if pixels is not None:
        whole.update(pixels)
    listed = tuple(
        ClassListing(count, digest.hexdigest()[:_HEX_DIGITS]) for count, digest in zip(counts, digests, strict=True)
    )
    return SplitListing(listed, whole.hexdigest()[:_HEX_DIGITS])


def _size(path: str) -> int:
    """Bytes of an image file; -1 for an image in an archive or in memory."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1


def _pixels(images: Any) -> memoryview | None:
    """The pixels of a set that is held in memory, whose images have no names to tell them apart by."""
    while isinstance(images, Part):
        images = images.whole
    array = getattr(images, "images", None)
    return None if array is None or not hasattr(array, "tobytes") else memoryview(array.tobytes())
