"""Axes: where values lie on a picture, in pixels or in cells, round values to write beside them, and the frame around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from tleg.picture import Path, Picture, Words


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie on a picture, from `start` to `end`, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """The coordinate of a value."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return self.start + (self.end - self.start) * (self._scaled(value) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from low to high, at most so many."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most - 1)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def enough_ticks(low: float, high: float, most: int) -> list[float]:
    """As `round_ticks`, but finer where these would be less than two."""
    return next(ticks for each in count(max(most, 2)) if len(ticks := round_ticks(low, high, each)) >= 2)


def power_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from low to high; powers alone where those are many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
    return [
        factor * 10.0**exponent for exponent in exponents for factor in factors if low <= factor * 10.0**exponent <= high
    ]


def draw_frame(picture: Picture, across: Axis, up: Axis, ticks: Sequence[tuple[float, str]], below: str) -> None:
    """Draw a line at each round value of a vertical axis, and a horizontal axis with its ticks and what it is of.

    ticks  values of the horizontal axis and how they are written
    """
    for tick in round_ticks(up.low, up.high, 6):
        y = up.place(tick)
        picture.add(
            Path(((across.start, y), (across.end, y)), "edge"),
            Words(across.start - 8, y + 4, f"{tick:g}", "soft", 11, "end"),
        )
    for value, text in ticks:
        x = across.place(value)
        picture.add(Path(((x, up.start), (x, up.start + 5)), "soft"), Words(x, up.start + 19, text, "soft", 11, "middle"))
    picture.add(
        Path(((across.start, up.start), (across.end, up.start)), "soft"),
        Words((across.start + across.end) / 2, up.start + 40, below, "soft", 12, "middle"),
    )
