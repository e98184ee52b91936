"""Numbers as the Run screen writes them: short, and as wide before a change as after it."""

import math


def grouped(value: float) -> str:
    """A whole number with room between thousands: 1240 -> '1 240'."""
    return f"{value:,.0f}".replace(",", " ")


def axis_label(value: float, step: float = 0.0) -> str:
    """A value beside an axis, in six characters or fewer. `step` is the distance to the next, which gives the decimals."""
    if value == 0:
        return "0"
    size, fine = abs(value), abs(step) or abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            divisor = 1e3 if unit == "k" else limit
            return f"{value / divisor:.3g}{unit}" if size < 1e14 else _power(value)
    if fine < 5e-5:
        return _power(value)
    decimals = min(max(0, -math.floor(math.log10(fine) + 1e-9)), 4)
    if round(fine, decimals) != round(fine, decimals + 1) and decimals < 4:
        decimals += 1  # A step of 2.5 or 0.25.
    return f"{value:.{decimals}f}"[:6]


def _power(value: float) -> str:
    """'2.5e-5', without the zeros that Python writes."""
    text = f"{value:.1e}".replace(".0e", "e")
    digits, _, power = text.partition("e")
    return f"{digits}e{int(power)}"


def rate(value: float) -> str:
    """A learning rate: '1.20e-03'."""
    return f"{value:.2e}"


def short(value: float) -> str:
    """Some number in four digits: '0.8320', '12.35', '1.2e+05'."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 1e4 else f"{value:.1e}"
