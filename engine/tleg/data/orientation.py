"""Whether images say by EXIF that they are stored lying on their side."""

from collections.abc import Callable
from typing import Final

from PIL import ExifTags, Image

from tleg.data.dataset import ImageSet

_LOOKED_AT: Final = 64


def count_turned(images: ImageSet) -> tuple[int, int]:
    """Return how many of some images are not stored upright, and how many were looked at, spread over the set.

    Nothing is decoded where that can be had.
    """
    some = min(len(images), _LOOKED_AT)
    open_image: Callable[[int], Image.Image] = getattr(images, "open", images.image)
    return sum(_is_turned(open_image, place * len(images) // some) for place in range(some)), some


def _is_turned(open_image: Callable[[int], Image.Image], index: int) -> bool:
    try:
        with open_image(index) as image:
            return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # Who needs the image says why it cannot be read.
        return False
