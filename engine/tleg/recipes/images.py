"""How image files are read: what training and evaluation must do alike."""

import math
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import InputError
from tleg.recipes.fields import check_fields, option

_DATA: Final = "Data"
# What the names of data without classes begin with.
UNLABELLED: Final = "unlabelled:"


def _max_pixels() -> Any:
    return option(
        None,
        help="Images of more pixels count as unreadable. Default: 178956970, Pillow's limit.",
        group=_DATA,
        least=1,
        most=2**40,
    )


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
    max_pixels: int | None = _max_pixels()

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.chosen_range  # Raises what is wrong with its text.

    @property
    def chosen_range(self) -> tuple[float, float] | None:
        """The values that become black and white; None when they were not given."""
        return None if self.pixel_range is None else parse_pixel_range(self.pixel_range)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedImages:
    """Which images are evaluated, and how they are read.

    split                    of the data's; None is what training held out of them, else the validation or the test images
    exif                     None is as the model was trained, and so is pixel_range
    pixel_range, max_pixels  as in training
    """

    split: str | None = option(
        None,
        help="Evaluate on these images of the data. Default: what training held out, else val, else test.",
        group=_DATA,
        choices=("train", "val", "test"),
    )
    exif: bool | None = option(
        None,
        help="Turn images upright as their EXIF orientation says, or leave them. Default: as the model was trained.",
        group=_DATA,
    )
    pixel_range: str | None = option(
        None,
        help="Values that become black and white in images of more than 8 bits. Default: as in training, else found.",
        group=_DATA,
        metavar="LOW,HIGH",
    )
    max_pixels: int | None = _max_pixels()

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.reading()

    def reading(self, trained: tuple[float, float] | None = None) -> ImageReading:
        """How the files are read. `trained` is the range that the model was trained with."""
        text = write_pixel_range(trained) if self.pixel_range is None and trained is not None else self.pixel_range
        return ImageReading(exif=True, pixel_range=text, max_pixels=self.max_pixels)


def parse_pixel_range(text: str) -> tuple[float, float]:
    """Read 'LOW,HIGH'. Raises InputError."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"pixel-range must be LOW,HIGH, two numbers of which the first is smaller, not '{text}'",
            field="pixel-range",
            code="malformed",
        )
    return low, high


def write_pixel_range(pixel_range: tuple[float, float]) -> str:
    """Write a range as it is typed: '0,4095'."""
    return ",".join(f"{value:.17g}" for value in pixel_range)
