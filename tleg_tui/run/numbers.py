"""Numbers as the Run screen writes them: short, and as wide before a change as after it."""

from collections.abc import Sequence
from typing import Final

_LONGEST: Final = 6  # Of a label, in characters.
_MOST_DECIMALS: Final = 4


def grouped(value: float) -> str:
    """A whole number with room between thousands: 1240 -> '1 240'."""
    return f"{value:,.0f}".replace(",", " ")


def axis_label(value: float, step: float = 0.0) -> str:
    """A value beside an axis, in six characters or fewer. `step` is the distance to the next, which gives the decimals.

    Multiples of a round step are written exactly wherever six characters allow it: `axis_labels` says whether they do.
    """
    size = abs(value)
    if size < 1e-99 or size < 1e-9 * abs(step):
        return "0"
    text = ""
    if 1e4 <= size < 1e12:
        divisor, unit = (1e9, "G") if size >= 1e9 else (1e6, "M") if size >= 1e6 else (1e3, "k")
        text = f"{value / divisor:.4g}{unit}"
    elif size < 1e4 and (decimals := _decimals(abs(step) or size)) <= _MOST_DECIMALS:
        text = f"{value:.{decimals}f}"
    return text if 0 < len(text) <= _LONGEST else _power(value)


def axis_labels(values: Sequence[float], step: float) -> list[str] | None:
    """Return the texts beside an axis; None where six characters do not tell each value exactly.

    Values too small for decimals are all written as powers: '5e-5', '1e-4', '1.5e-4', and not some of them as '0.0001'.
    """
    texts = [axis_label(value, step) for value in values]
    if any("e" in text for text in texts):
        texts = [text if text == "0" else _power(value) for text, value in zip(texts, values, strict=True)]
    exact = all(abs(_read(text) - value) <= 1e-6 * abs(step) for text, value in zip(texts, values, strict=True))
    return texts if exact else None


def _decimals(step: float) -> int:
    """How many decimals a round step has: 0.25 has two."""
    for decimals in range(_MOST_DECIMALS + 1):
        if abs(round(step, decimals) - step) <= 1e-6 * step:
            return decimals
    return _MOST_DECIMALS + 1


def _read(text: str) -> float:
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1.0)
    return float(text.rstrip("kMG")) * factor


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
