"""Quantities as people type and read them: '20M' values, '1.5GiB'. Standard library only."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tleg.errors import InputError

COUNT_UNITS: Final[Mapping[str, int]] = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}
BYTE_UNITS: Final[Mapping[str, int]] = {
    "": 1,
    "b": 1,
    **{f"{prefix}{b}": 1000**power for power, prefix in enumerate("kmgt", 1) for b in ("", "b")},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
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


def format_bytes(value: float) -> str:
    """Write bytes in decimal units, as file managers do: 5717032 -> '5.7 MB'."""
    return _format(value, ("B", "kB", "MB", "GB", "TB"), 1)


def format_count(value: float) -> str:
    """Write a count as people say it: 1268392 -> '1.27 M'."""
    return _format(value, ("", "k", "M", "G", "T"), 2)


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
        raise InputError(f"{text!r} is not {wanted}")
    whole, fraction = match[1], match[2] or ""
    # In whole numbers: a limit must not move because 0.1 has no exact binary form.
    divisor: int = 10 ** len(fraction)
    return int(whole + fraction) * units[match[3]] // divisor
