"""A curve of a long run in bounded memory: neighbouring steps share a point, which keeps their mean and their extremes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST_POINTS: Final = 1024


@dataclass(frozen=True, slots=True)
class Spread:
    """Some values: how many, their sum, the least and the greatest."""

    count: int
    total: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return self.total / self.count


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The reports of neighbouring steps, `first` to `last`, with the last learning rate.

    None where a quantity had no finite value.
    """

    first: int
    last: int
    loss: Spread | None = None
    gradient_norm: Spread | None = None
    images_per_second: Spread | None = None
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """At most MOST_POINTS points. A point holds the steps from a multiple of `width` up to the next."""

    points: tuple[CurvePoint, ...] = ()
    width: int = 1


class CurveBuilder:
    """A curve while reports are added. What comes out does not depend on how they were divided among builders."""

    def __init__(self, curve: Curve) -> None:
        self._points = list(curve.points)
        self._width = curve.width

    def add(
        self, step: int, loss: float | None, gradient_norm: float | None, images_per_second: float | None, rate: float | None
    ) -> None:
        """Add the report of a step. Steps from this one on that are there already are replaced: the run went back."""
        points = self._points
        if points and points[-1].last >= step:
            self.cut(step - 1)
        if points and points[-1].first // self._width == step // self._width:
            last = points[-1]
            points[-1] = CurvePoint(
                last.first,
                step,
                _add(last.loss, loss),
                _add(last.gradient_norm, gradient_norm),
                _add(last.images_per_second, images_per_second),
                last.learning_rate if rate is None else rate,
            )
            return
        points.append(
            CurvePoint(step, step, _add(None, loss), _add(None, gradient_norm), _add(None, images_per_second), rate)
        )
        while len(self._points) > MOST_POINTS:
            self._width *= 2
            self._points = _merge(self._points, self._width)

    def cut(self, step: int) -> None:
        """Forget the points that lie behind a step as a whole, because the run goes on from there."""
        while self._points and self._points[-1].first > step:
            self._points.pop()
        if self._points and self._points[-1].last > step:
            # Its later reports cannot be taken out of it; they were of the same steps that come again.
            last = self._points[-1]
            self._points[-1] = CurvePoint(
                last.first, step, last.loss, last.gradient_norm, last.images_per_second, last.learning_rate
            )

    def finish(self) -> Curve:
        """Return the curve."""
        return Curve(tuple(self._points), self._width)


def _add(spread: Spread | None, value: float | None) -> Spread | None:
    if value is None:
        return spread
    if spread is None:
        return Spread(1, value, value, value)
    return Spread(
        spread.count + 1,
        spread.total + value,
        value if value < spread.low else spread.low,
        value if value > spread.high else spread.high,
    )


def _merge(points: Iterable[CurvePoint], width: int) -> list[CurvePoint]:
    merged: list[CurvePoint] = []
    for point in points:
        if merged and merged[-1].first // width == point.first // width:
            merged[-1] = _join(merged[-1], point)
        else:
            merged.append(point)
    return merged


def _join(left: CurvePoint, right: CurvePoint) -> CurvePoint:
    return CurvePoint(
        left.first,
        right.last,
        _join_spreads(left.loss, right.loss),
        _join_spreads(left.gradient_norm, right.gradient_norm),
        _join_spreads(left.images_per_second, right.images_per_second),
        left.learning_rate if right.learning_rate is None else right.learning_rate,
    )


def _join_spreads(left: Spread | None, right: Spread | None) -> Spread | None:
    if left is None or right is None:
        return right if left is None else left
    return Spread(left.count + right.count, left.total + right.total, min(left.low, right.low), max(left.high, right.high))
