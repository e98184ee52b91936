"""Images with more than eight bits for a channel."""

import numpy as np
from PIL import Image

from tleg.errors import DataError


def to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Return the image with the upper eight of its 16 bits; one of eight bits stays as it is.

    Raises DataError, naming it, for floating-point values, whose range nobody knows.
    """
    if image.mode == "F":
        raise DataError(f"{name} holds floating-point values; convert it to 8 bits")
    if image.mode.startswith("I"):
        # Pillow would clip 16 bits to white.
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    return image
