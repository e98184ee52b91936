"""Images of more than eight bits a channel: a range of values, the same for a whole data set, becomes black to white.

Detectors store 10, 12 or 14 bits in files of 16, microscopes 32, and nothing in most files says so. The range is what was
asked for, else what the files declare (TIFF's BitsPerSample, PNG's sBIT), else the smallest of 8, 10, 12, 14 and 16 bits
that holds every value of some images spread over the set; of floating-point values it is 0 to 1 where all lie in it. Values
that fit none are refused: a range has to be given then. Files of 16 bits, of 32 and of floating-point values are told apart.

`is_deep` says which images these are: Pillow's modes I, I;16 and F. It reads 16-bit colour as 8 bits itself.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from PIL import Image

from tleg.errors import DataError
from tleg.recipes.images import ImageReading

# Images looked at, and how many of them are decoded where they are deep.
_LOOKED_AT: Final = 256
_DECODED: Final = 128
_KINDS: Final = {"I;16": "whole numbers of 16 bits", "I": "whole numbers of 32 bits", "F": "floating-point values"}
_BITS: Final = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE: Final = 258  # TIFF's tag. MaxSampleValue is of no use: it is what an image has, not what it may have.
# Of an image that has lost its file: what Pillow finds an orientation in.
_EXIF_KEYS: Final = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


class RangeError(DataError):
    """Values whose range is not known."""


@dataclass(frozen=True, slots=True)
class PixelRange:
    """The values that become black and white.

    found  whether it was found on some images: then one that goes beyond it shows that it was wrong
    """

    low: float
    high: float
    found: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class PixelRanges:
    """The ranges of a set's deep images.

    given     what was asked for, of all kinds of files; else
    by_kind   what was found: 'I;16', 'I' (32 bits) and 'F' (floating point)
    problems  what was seen of a kind that fits no range, and what to do
    """

    given: PixelRange | None = None
    by_kind: Mapping[str, PixelRange] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> PixelRange | None:
        """The range of a kind of files; None when it is not known. Raises RangeError with what is known to be wrong."""
        if self.given is None and kind in self.problems:
            raise RangeError(self.problems[kind], field="pixel-range")
        return self.given or self.by_kind.get(kind)

    def check(self) -> None:
        """Raise DataError when there are images whose range nobody knows."""
        if self.given is None:
            for problem in self.problems.values():
                raise DataError(f"images of the data set hold {problem}", field="pixel-range")

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The range as it is recorded; None without deep images, or where kinds differ and each set has to be looked at."""
        known = {(each.low, each.high) for each in ([self.given] if self.given else self.by_kind.values())}
        return next(iter(known)) if len(known) == 1 else None

    @property
    def note(self) -> str | None:
        """What to say about ranges that were found."""
        if self.given is not None or not self.by_kind:
            return None
        some = " and ".join(f"the values {each} of {_KINDS[kind]}" for kind, each in self.by_kind.items())
        return (
            f"images of more than 8 bits: {some} become black to white, as found on some; --pixel-range says another range"
        )


def is_deep(image: Image.Image) -> bool:
    """Whether an image has more than eight bits a channel: whole numbers of 16 or 32 bits, or floating-point numbers."""
    return image.mode[0] in "IF"


def kind_of(image: Image.Image) -> str:
    """The kind of a deep image's file: 'I;16', 'I' or 'F'."""
    return "I;16" if image.mode.startswith("I;16") else image.mode


def to_eight_bits(image: Image.Image, ranges: PixelRanges) -> Image.Image:
    """Return a deep image in mode L: its range is cut into 256 equal steps, what lies beyond it is clipped.

    Of whole numbers 0 to 2**N - 1 these are the upper eight bits. Raises RangeError when the range is not known, or was
    found on other images and does not hold.
    """
    values = np.asarray(image)
    pixel_range = ranges.of(kind_of(image))
    if pixel_range is None:
        raise RangeError(f"{_seen(values)}, whose range is not known; give --pixel-range LOW,HIGH", field="pixel-range")
    low, high = pixel_range.low, pixel_range.high
    if pixel_range.found and values.size and (np.nanmin(values) < low or np.nanmax(values) > high):
        raise RangeError(
            f"{_seen(values)}, beyond {pixel_range}, found on others; give --pixel-range LOW,HIGH", field="pixel-range"
        )
    if values.dtype.kind in "iu" and float(low).is_integer() and float(high).is_integer():
        steps = (values.astype(np.int64) - int(low)) * 256 // (int(high) - int(low) + 1)
    else:
        with np.errstate(invalid="ignore"):
            steps = np.nan_to_num(np.rint((values.astype(np.float64) - low) * (255 / (high - low))))
    small = Image.fromarray(steps.clip(0, 255).astype(np.uint8))
    small.info.update({key: image.info[key] for key in _EXIF_KEYS if key in image.info})
    return small


def given_ranges(images: ImageReading) -> PixelRanges | None:
    """Return the range that was asked for, for all kinds of files; None where it has to be found."""
    return None if images.chosen_range is None else PixelRanges(PixelRange(*images.chosen_range))


@dataclass(frozen=True, slots=True)
class _Look:
    """What one deep image holds. `declared` is the largest value by the file's own words, None without any."""

    name: str
    kind: str
    low: float
    high: float
    declared: int | None


def find_ranges(count: int, open_image: Callable[[int], Image.Image], name: Callable[[int], str]) -> PixelRanges:
    """Return the ranges of a set's deep images, from some of them spread over the set.

    open_image  opens an image by number without decoding it, and may raise anything
    name        what to call it
    """
    groups: dict[str, list[_Look]] = {}
    for look in _look(count, open_image, name):
        groups.setdefault(look.kind, []).append(look)
    found = {kind: _range_of(looks) for kind, looks in groups.items()}
    return PixelRanges(
        None,
        {kind: each for kind, each in found.items() if isinstance(each, PixelRange)},
        {kind: each for kind, each in found.items() if isinstance(each, str)},
    )


def _range_of(looks: list[_Look]) -> PixelRange | str:
    low, high = min(look.low for look in looks), max(look.high for look in looks)
    if looks[0].kind == "F":
        if low >= 0 and high <= 1:
            return PixelRange(0, 1, found=True)
    elif low >= 0:
        declared = max((look.declared for look in looks if look.declared is not None), default=None)
        if declared is not None and high <= declared:
            return PixelRange(0, declared, found=True)
        top = next((2**bits - 1 for bits in _BITS if high < 2**bits), None)
        if top is not None:
            return PixelRange(0, top, found=True)
    return (
        f"{_KINDS[looks[0].kind]} from {low:g} to {high:g}, as {looks[0].name} does, and nothing says which are black and "
        f"white; give --pixel-range LOW,HIGH, as in --pixel-range {low:.6g},{high:.6g}"
    )


def _look(count: int, open_image: Callable[[int], Image.Image], name: Callable[[int], str]) -> Iterator[_Look]:
    some = min(count, _LOOKED_AT)
    decoded = 0
    for index in (place * count // some for place in range(some)):
        if decoded == _DECODED:
            return
        try:
            with open_image(index) as image:
                if not is_deep(image):
                    continue
                declared = _declared(image)
                values = np.asarray(image)
        except Exception:  # Whoever needs it says why it cannot be read.
            continue
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            decoded += 1
            yield _Look(name(index), kind_of(image), float(finite.min()), float(finite.max()), declared)


def _declared(image: Image.Image) -> int | None:
    """The largest value that a file says its samples may have, where it says more than the width of its storage."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None:
        stated = tags.get(_BITS_PER_SAMPLE)
        bits = stated[0] if isinstance(stated, tuple) and stated else stated
    else:
        bits = _significant_bits(getattr(image, "fp", None)) if image.format == "PNG" else None
    return 2**bits - 1 if isinstance(bits, int) and 8 < bits < 16 else None


def _significant_bits(file: Any) -> int | None:
    """The greyscale bits of a PNG's sBIT chunk, which stands before its pixels."""
    if file is None:
        return None
    place = file.tell()
    try:
        file.seek(8)
        while True:
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"sBIT" and length == 1:
                bits: int = file.read(1)[0]
                return bits
            if kind in (b"IDAT", b"IEND"):
                return None
            file.seek(length + 4, 1)
    except (struct.error, IndexError):
        return None
    finally:
        file.seek(place)


def _seen(values: Any) -> str:
    kind = _KINDS["F" if values.dtype.kind == "f" else "I;16" if values.dtype.itemsize == 2 else "I"]
    with np.errstate(all="ignore"):
        return f"{kind} from {np.nanmin(values):g} to {np.nanmax(values):g}" if values.size else kind


class RangedImages(ABC):
    """A set of images that finds the ranges of its deep ones when the first is asked for, where none were given."""

    def __init__(self, ranges: PixelRanges | None) -> None:
        self._ranges = ranges

    @property
    def ranges(self) -> PixelRanges:
        """The ranges of images of more than eight bits."""
        if self._ranges is None:
            self._ranges = find_ranges(len(self), self.open, self.name)
        return self._ranges

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def open(self, index: int) -> Image.Image:
        """Open an image without decoding it. May raise anything."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call an image."""
