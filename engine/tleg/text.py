"""What a person reads and types: quantities ('20M', '1.5GiB'), durations, the glyphs of states. Standard library only."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from tleg.errors import InputError, concerning

COUNT_UNITS: Final[Mapping[str, int]] = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
BYTE_UNITS: Final[Mapping[str, int]] = {
    "": 1,
    "b": 1,
    **{f"{prefix}{b}": 1000**power for power, prefix in enumerate("kmgt", 1) for b in ("", "b")},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
GLYPHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "queued": "…",
        "starting": "◔",
        "running": "▶",
        "stopping": "◼",
        "finished": "✓",
        "stopped": "■",
        "failed": "✗",
        "lost": "?",
    }
)
COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {"running": "green", "finished": "green", "failed": "red", "lost": "red", "stopped": "yellow", "stopping": "yellow"}
)

_LATENCY_UNITS: Final[Mapping[str, int]] = MappingProxyType({"us": 1000, "ms": 1_000_000, "s": 1_000_000_000})
MEAN: Final = "⌀"  # Stands before an accuracy that is a mean over depths.
MAX_IMAGE_SIDE: Final = 4096
_IMAGE_SIZE = re.compile(r"(\d{1,9})(?: ?[x×] ?(\d{1,9}))?", re.ASCII)
_NUMBER = re.compile(r"(\d{1,18})(?:\.(\d{1,18}))? ?([a-z]*)", re.ASCII)


def parse_count(text: str) -> int:
    """Read a count with a decimal suffix: '20M' is 20,000,000, '3G' (or '3B') 3,000,000,000, '12.5k' 12,500.

    Fractions of one are cut off. Raises InputError.
    """
    return _parse(text, COUNT_UNITS, "a count such as 800k, 20M or 3G")


def parse_bytes(text: str) -> int:
    """Read a size in bytes: '50MB' and '50M' are 50,000,000, '1.5GiB' is 1,610,612,736, '512' is 512.

    Fractions of one are cut off. Raises InputError.
    """
    return _parse(text, BYTE_UNITS, "a size such as 800kB, 50MB or 1.5GiB")


def parse_latency(text: str) -> float:
    """Read a time in seconds: '20ms' is 0.02, '0.5s' 0.5, '300us' 0.0003. Raises InputError."""
    return _parse(text, _LATENCY_UNITS, "a time such as 20ms, 0.5s or 300us") / 1e9


def parse_image_size(text: str) -> tuple[int, int]:
    """Read the height and width of images: '160' is (160, 160), '128x256' 128 high, 256 wide. Raises InputError."""
    match = _IMAGE_SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise InputError(f"{text!r} is no size of images such as 160 or 128x256 (height x width)", code="malformed")
    height, width = int(match[1]), int(match[2] or match[1])
    if not 1 <= min(height, width) <= max(height, width) <= MAX_IMAGE_SIDE:
        raise InputError(f"an image has 1 to {MAX_IMAGE_SIDE} rows and columns, not {text.strip()}", code="out-of-range")
    return height, width


def read_image_size(size: str | int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the height and width that somebody gave: a text, one number for a square, both; None where nothing was given.

    Raises InputError about the option image-size.
    """
    with concerning("image-size"):
        if size is None:
            return None
        if isinstance(size, str):
            return parse_image_size(size)
        return parse_image_size(str(size) if isinstance(size, int) else "x".join(map(str, size)))


def format_image_size(size: tuple[int, int]) -> str:
    """Write the height and width of images as they are typed: '160', '128x256'."""
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def format_bytes(value: float) -> str:
    """Write bytes in decimal units, as file managers do: 5717032 -> '5.7 MB'."""
    return _format(value, ("B", "kB", "MB", "GB", "TB"), 1)


def format_count(value: float) -> str:
    """Write a count as people say it: 1268392 -> '1.27 M'."""
    return _format(value, ("", "k", "M", "G", "T"), 2)


def format_latency(seconds: float) -> str:
    """Write seconds of one run in milliseconds: 0.0123 -> '12.300 ms'."""
    return f"{1000 * seconds:.3f} ms"


def format_epochs(epochs: int | str) -> str:
    """'1 epoch', '3 epochs'."""
    return f"{epochs} epoch{'' if str(epochs) == '1' else 's'}"


def without_zeros(text: str) -> str:
    """A quantity without decimals that say nothing: '10.00 T' -> '10 T', '2.50 G' -> '2.5 G'."""
    number, _, unit = text.partition(" ")
    return f"{float(number):g} {unit}".rstrip()


def format_duration(seconds: float) -> str:
    """Write seconds as '41 s', '12 min', '3 h 05 min' or '2 d 4 h'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 24 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def printable(text: str) -> str:
    """Text from a file, safe to print: control characters, escape codes among them, become a replacement character."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Write words as people list them: 'a, b and c'."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _format(value: float, units: Sequence[str], decimals: int) -> str:
    """Write a value in the unit in which it is written with three digits before the point at most: never '1000.0 kB'."""
    text = f"{value:.0f}"
    for power, unit in enumerate(units):
        text = f"{value / 1000**power:.{decimals if power else 0}f} {unit}".rstrip()
        if abs(float(text.partition(" ")[0])) < 1000:
            break
    return text


def _parse(text: str, units: Mapping[str, int], wanted: str) -> int:
    match = _NUMBER.fullmatch(text.strip().lower())
    if match is None or match[3] not in units:
        raise InputError(f"{text!r} is not {wanted}", code="malformed")
    whole, fraction = match[1], match[2] or ""
    # In whole numbers: a limit must not move because 0.1 has no exact binary form.
    divisor: int = 10 ** len(fraction)
    return int(whole + fraction) * units[match[3]] // divisor
