"""Decoding one image, which way up it is, and why one cannot be decoded, as one of a few reasons that are counted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from PIL import ExifTags, Image, UnidentifiedImageError, features

from tleg.data.datasets import ImageSet
from tleg.data.deep_images import PixelRanges, RangeError, to_eight_bits
from tleg.errors import DataError, describe_os_error

# Where Pillow refuses: twice the number of pixels from which on it warns.
MAX_PIXELS: Final = 2 * 89_478_485
# Reasons, as they are counted: '3 truncated, 1 empty'.
GONE, CLOSED, EMPTY, NO_IMAGE = "gone", "not permitted", "empty", "no image"
TRUNCATED, TOO_LARGE, NO_RANGE, DAMAGED = "truncated", "too many pixels", "of unknown pixel range", "damaged"
REASONS: Final = (GONE, CLOSED, EMPTY, NO_IMAGE, TRUNCATED, TOO_LARGE, NO_RANGE, DAMAGED)
_OPTIONAL: Final = {".avif": "avif", ".avifs": "avif", ".jp2": "jpg_2000", ".j2k": "jpg_2000", ".webp": "webp"}
_TRUNCATED_WORDS: Final = ("truncated", "unexpected end", "not enough", "incomplete")


class UnreadableImageError(DataError):
    """An image that cannot be read. `reason` is one of REASONS."""

    def __init__(self, message: str, reason: str = DAMAGED) -> None:
        super().__init__(message)
        self.reason = reason


def decode_image(source: Any, name: str, max_pixels: int | None = None) -> Image.Image:
    """Decode the first image of a path or an open file, as Pillow gives it, any mode. `name` says which in errors.

    max_pixels  the most that width times height may be; None is MAX_PIXELS

    Raises UnreadableImageError.
    """
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        with _own_limit(), Image.open(source) as image:
            if image.width * image.height > limit:
                raise UnreadableImageError(
                    f"cannot read {name}: {image.width} x {image.height} pixels are more than {limit}; "
                    f"--max-pixels {image.width * image.height} reads it",
                    TOO_LARGE,
                )
            image.load()
    except UnreadableImageError:
        raise
    except Exception as error:  # Decoders of damaged files raise many kinds.
        words, reason = _explain(error, source)
        raise UnreadableImageError(f"cannot read {name}: {words}", reason) from error
    return image


def eight_bits(image: Image.Image, name: str, ranges: PixelRanges) -> Image.Image:
    """Return a deep image in 8 bits. Raises UnreadableImageError where nobody knows its values' range."""
    try:
        return to_eight_bits(image, ranges)
    except RangeError as error:
        raise UnreadableImageError(f"cannot read {name}: it holds {error}", NO_RANGE) from error


@contextmanager
def _own_limit() -> Iterator[None]:
    """Without Pillow's limit, whose error names another number than people set, and whose warning comes at half of it."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _explain(error: Exception, source: Any) -> tuple[str, str]:
    if isinstance(error, FileNotFoundError):
        return "it is gone", GONE
    if isinstance(error, PermissionError):
        return "no permission to read it", CLOSED
    if isinstance(error, UnidentifiedImageError):
        if _is_empty(source):
            return "the file is empty", EMPTY
        needed = _OPTIONAL.get(Path(source).suffix.lower()) if isinstance(source, Path) else None
        if needed is not None and not features.check(needed):
            return f"Pillow is installed without {needed}; convert it, or install a Pillow that has it", NO_IMAGE
        return "it is no image that Pillow knows", NO_IMAGE
    words = describe_os_error(error) if isinstance(error, OSError) else str(error) or type(error).__name__
    words = " ".join(words.split())
    truncated = isinstance(error, EOFError) or any(word in words.lower() for word in _TRUNCATED_WORDS)
    return (f"the file is truncated ({words})", TRUNCATED) if truncated else (words, DAMAGED)


def _is_empty(source: Any) -> bool:
    try:
        return Path(source).stat().st_size == 0 if isinstance(source, Path) else not source.seek(0, 2)
    except (OSError, ValueError, AttributeError):
        return False


_LOOKED_AT: Final = 64
Seen = TypeVar("Seen")


def count_turned(images: ImageSet) -> tuple[int, int]:
    """Return how many of some images are not stored upright, and how many were looked at, spread over the set.

    Nothing is decoded where that can be had.
    """
    turned = _of_some(images, lambda image: image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9))
    return turned.count(True), len(turned)


def typical_side(images: ImageSet) -> int | None:
    """Return the median over some images, spread over the set, of their shorter side in pixels; None where none can be read.

    Nothing is decoded where that can be had.
    """
    known = sorted(side for side in _of_some(images, lambda image: min(image.size)) if side is not None)
    return known[len(known) // 2] if known else None


def _of_some(images: ImageSet, look: Callable[[Image.Image], Seen]) -> list[Seen | None]:
    """What is seen of some images, spread over the set; None of one that cannot be read: who needs it says why."""
    some = min(len(images), _LOOKED_AT)
    open_image: Callable[[int], Image.Image] = getattr(images, "open", images.image)
    found: list[Seen | None] = []
    for place in range(some):
        try:
            with open_image(place * len(images) // some) as image:
                found.append(look(image))
        except Exception:
            found.append(None)
    return found
