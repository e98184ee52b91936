"""How image files are read: what training and evaluation must do alike."""

import math
from dataclasses import dataclass
from typing import Final

from tleg.errors import InputError
from tleg.recipes.fields import check_fields, option

_DATA: Final = "Data"


@dataclass(frozen=True, slots=True)
class ImageReading:
    """How image files are read.

    exif         turn images upright as their EXIF orientation says; without it they stay as they are stored, as with timm
    pixel_range  'LOW,HIGH': the values of images of more than 8 bits that become black and white; None is what the files
                 say or what is found over the training images
    max_pixels   images of more pixels count as unreadable; None is Pillow's limit, 178,956,970
    """

    exif: bool = option(
        True, help="Turn images upright as their EXIF orientation says; --no-exif is timm's way.", group=_DATA
    )
    pixel_range: str | None = option(
        None,
        help="Values that become black and white in images of more than 8 bits, as in 0,4095. Default: found.",
        group=_DATA,
        metavar="LOW,HIGH",
    )
    max_pixels: int | None = option(
        None,
        help="Images of more pixels count as unreadable. Default: 178956970, Pillow's limit.",
        group=_DATA,
        least=1,
        most=2**40,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.chosen_range  # Raises what is wrong with its text.

    @property
    def chosen_range(self) -> tuple[float, float] | None:
        """The values that become black and white; None when they were not given."""
        return None if self.pixel_range is None else parse_pixel_range(self.pixel_range)


def parse_pixel_range(text: str) -> tuple[float, float]:
    """Read 'LOW,HIGH'. Raises InputError."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"pixel-range must be LOW,HIGH, two numbers of which the first is smaller, not '{text}'")
    return low, high


def write_pixel_range(pixel_range: tuple[float, float]) -> str:
    """Write a range as it is typed: '0,4095'."""
    return ",".join(f"{value:.17g}" for value in pixel_range)
