"""Numbers as the Run screen writes them: short, and as wide before a change as after it."""

import math
from typing import Final

_LONGEST: Final = 6  # Of a label, in characters.


def grouped(value: float) -> str:
    """A whole number with room between thousands: 1240 -> '1 240'."""
    return f"{value:,.0f}".replace(",", " ")


def axis_label(value: float, step: float = 0.0) -> str:
    """A value beside an axis, in six characters or fewer. `step` is the distance to the next, which gives the decimals."""
    size, fine = abs(value), abs(step) or abs(value)
    if size < 1e-99:
        return "0"
    text = ""
    if 1e4 <= size < 1e12:
        divisor, unit = (1e9, "G") if size >= 1e9 else (1e6, "M") if size >= 1e6 else (1e3, "k")
        text = f"{value / divisor:.4g}{unit}"
    elif fine >= 5e-5 and size < 1e4:
        decimals = min(max(0, -math.floor(math.log10(fine) + 1e-9)), 4)
        if decimals < 4 and round(fine, decimals) != round(fine, decimals + 1):
            decimals += 1  # A step of 2.5 or 0.25.
        text = f"{value:.{decimals}f}"
    return text if 0 < len(text) <= _LONGEST else _power(value)


def _power(value: float) -> str:
    """'2.5e-5', without the zeros that Python writes."""
    for decimals in (1, 0):
        digits, _, power = f"{value:.{decimals}e}".partition("e")
        text = f"{digits.removesuffix('.0')}e{int(power)}"
        if len(text) <= _LONGEST:
            break
    return text


def rate(value: float) -> str:
    """A learning rate: '1.20e-03'."""
    return f"{value:.2e}"


def short(value: float) -> str:
    """Some number in four digits: '0.8320', '12.35', '1.2e+05'."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1e4 else f"{value:.1e}"
