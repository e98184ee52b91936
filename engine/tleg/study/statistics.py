"""Means, spreads and paired tests of a few seeds. Standard library only.

Student's t is exact for whole degrees of freedom, by the finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4. One value
has no spread and is not tested; neither are differences without any spread.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Key = TypeVar("Key", bound=Hashable)
CONFIDENCE: Final = 0.95
# A difference is called clear below this p.
SIGNIFICANT: Final = 0.05


@dataclass(frozen=True, slots=True)
class Summary:
    """n values: their mean, and their standard deviation (divisor n - 1), which is None for one value."""

    n: int
    mean: float
    std: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """What n pairs say of the difference of two arms, the first minus the second.

    difference  the mean
    std         the standard deviation of the differences; None for one pair
    interval    where the true mean lies with a confidence of 95 %; None where there is no spread
    t, p        Student's t of the differences against 0, with n - 1 degrees of freedom, and its two-sided p; None likewise
    """

    n: int
    difference: float
    std: float | None
    interval: tuple[float, float] | None
    t: float | None
    p: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Return mean and standard deviation of at least one value. Raises ValueError for none."""
    if not values:
        raise ValueError("no values have no mean")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None)
    return Summary(n, mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)))


def paired(first: Mapping[Key, float], second: Mapping[Key, float]) -> Paired | None:
    """Compare two arms by the keys, such as (data, seed), that both have; None where there is none."""
    pairs = [(value, second[key]) for key, value in first.items() if key in second]
    if not pairs:
        return None
    differences = [one - other for one, other in pairs]
    summary = summarise(differences)
    # Of equal differences rounding leaves a spread of about 1e-16 of the values' size, which means nothing.
    if summary.std is None or summary.std <= 1e-12 * max(max(map(abs, pair)) for pair in pairs):
        std = None if summary.std is None else 0.0
        return Paired(summary.n, summary.mean, std, None, None, None)
    error = summary.std / math.sqrt(summary.n)
    degrees = summary.n - 1
    half = student_quantile(CONFIDENCE, degrees) * error
    t = summary.mean / error
    interval = (summary.mean - half, summary.mean + half)
    return Paired(summary.n, summary.mean, summary.std, interval, t, student_p(t, degrees))


def student_p(t: float, degrees: int) -> float:
    """The two-sided p of Student's t: how often |t| is at least as large by chance. Raises ValueError below one degree.

    Exact to about 1e-15, so that a much smaller p may come out as 0.
    """
    return min(max(1.0 - student_within(abs(t), degrees), 0.0), 1.0)


def student_within(t: float, degrees: int) -> float:
    """The probability that |T| <= t, t >= 0 (A(t|degrees) in Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    if degrees < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {degrees}")
    angle = math.atan2(t, math.sqrt(degrees))
    sine, squared = math.sin(angle), math.cos(angle) ** 2
    odd = degrees % 2
    # Both sums grow by cos^2 times the next factor: 2/3, 4/5, ... for odd degrees, 1/2, 3/4, ... for even ones.
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for step in range((degrees - 1) // 2 if odd else degrees // 2):
        total += term
        over = 2 * step + (2 if odd else 1)
        term *= squared * over / (over + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def student_quantile(within: float, degrees: int) -> float:
    """The t that |T| does not exceed with a probability of 0 <= within < 1, by bisection. Raises ValueError."""
    if not 0 <= within < 1:
        raise ValueError(f"a probability below 1 is needed, not {within}")
    high = 1.0
    while student_within(high, degrees) < within:
        high *= 2
    low = 0.0
    while (middle := (low + high) / 2) not in (low, high):
        if student_within(middle, degrees) < within:
            low = middle
        else:
            high = middle
    return high


def holm(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Correct the p of several comparisons by Holm's method, in their order. What was not tested (None) does not count."""
    tested = sorted((p, index) for index, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, index) in enumerate(tested):
        least = max(least, min(1.0, p * (len(tested) - rank)))
        corrected[index] = least
    return tuple(corrected)
