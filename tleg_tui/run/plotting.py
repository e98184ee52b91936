"""Curves as numbers: from points to dots, bounds and labels. Pure functions, without a screen.

A dot column shows the least and the greatest of what falls into it, so that a spike is seen at any width.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from tleg_tui.run.numbers import axis_labels

_LARGEST: Final = 1e300  # Sums and differences of what is shown stay finite.
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_ROUND: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # On a logarithmic axis.
_NOTHING: Final = 1e-90  # What is less is written as 0.
_MOST_PARTS: Final = 5  # Of a vertical axis.
_PER_PART: Final = 0.08  # How much more of an axis may be empty for one part more or less than usual.


class Point(NamedTuple):
    """What a curve is at one place: the mean of some neighbouring values, and their extremes."""

    x: float
    low: float
    mean: float
    high: float


class Column(NamedTuple):
    """What a dot column shows: the extremes, the first and the last mean, and whether the line comes from the one before."""

    low: float
    high: float
    entry: float
    leave: float
    joined: bool


# None is a gap: a value that was not finite, or not known.
Points = Sequence[Point | None]


def decimate(points: Points, first: float, last: float, count: int) -> dict[int, Column]:
    """Return what each of `count` dot columns shows of the points from `first` to `last`. Empty columns are left out.

    The points are in the order of the axis.
    """
    columns: dict[int, Column] = {}
    if count < 1:
        return columns
    factor = (count - 1) / (last - first) if last > first else 0.0
    place, joined = -1, False
    # The column that is being filled, in plain variables: this loop is what a refresh costs.
    low = high = entry = leave = 0.0
    entered = False
    for point in points[_start(points, first) :]:
        if point is None:
            joined = False
            continue
        x, least, mean, greatest = point
        if x < first:
            continue
        if x > last:
            break
        here = int((x - first) * factor + 0.5)
        if here != place:
            if place >= 0:
                columns[place] = Column(low, high, entry, leave, entered)
            place, low, high, entry, entered = here, least, greatest, mean, joined
        else:
            if least < low:
                low = least
            if greatest > high:
                high = greatest
        leave = mean
        joined = True
    if place >= 0:
        columns[place] = Column(low, high, entry, leave, entered)
    return columns


def _start(points: Points, first: float) -> int:
    """Where points from `first` on begin. With gaps it is looked for from the beginning."""
    if not points or (points[0] is not None and points[0].x >= first) or any(point is None for point in points):
        return 0
    return bisect_left(points, first, key=lambda point: point.x if point is not None else first)


def place_of(x: float, first: float, last: float, count: int) -> int:
    """Return the dot column of a place on the axis, of `count` from `first` to `last`."""
    factor = (count - 1) / (last - first) if last > first else 0.0
    return int((x - first) * factor + 0.5)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest value of a vertical axis, and the distance of its labels; 0 on a logarithmic axis.

    `ceiling` is where the quantity ends: the axis may have room above it, but no label.
    """

    low: float
    high: float
    step: float
    log: bool = False
    ceiling: float | None = None

    def covers(self, low: float, high: float) -> bool:
        """Whether values lie within."""
        return self.low <= low and high <= self.high

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the bottom, 1 at the top; what is outside lies at an end."""
        if self.log:
            if value <= self.low:
                return 0.0
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(max(share, 0.0), 1.0)

    def row(self, value: float, rows: int) -> int:
        """The row of a value, of `rows` from the top down."""
        return rows - 1 - int(self.share(value) * (rows - 1) + 0.5)

    def labels(self) -> tuple[float, ...]:
        """The values that are written beside a linear axis, from the bottom up."""
        count = math.floor((self.high - self.low) / self.step + 1e-6)
        values = (self.low + index * self.step for index in range(count + 1))
        return tuple(value for value in values if self.ceiling is None or value <= self.ceiling + 1e-6 * self.step)

    def ticks(self, rows: int, down: int) -> dict[int, float]:
        """Row of cells -> the value beside it, each of `down` dots. On a logarithmic axis the densest round values that all
        have a row of their own, with one between them."""
        if not self.log:
            return {self.row(value, rows * down) // down: value for value in self.labels()}
        for parts, powers in (
            (_ROUND, 1),
            ((1.0, 2.0, 5.0), 1),
            ((1.0, 3.0), 1),
            *(((1.0,), power) for power in range(1, 99)),
        ):
            values = [value for value in _series(self.low, self.high, parts, powers) if self.low <= value <= self.high]
            places = [self.row(value, rows * down) // down for value in values]
            if len(values) >= 2 and all(below - above >= 2 for below, above in pairwise(places)):
                return dict(zip(places, values, strict=True))
            if len(values) < 2:
                break
        return {rows - 1: self.low, 0: self.high}


def nice_bounds(
    low: float,
    high: float,
    *,
    log: bool = False,
    from_zero: bool = False,
    ceiling: float | None = None,
    rows: int = 9,
    down: int = 1,
) -> Bounds:
    """Return bounds of round numbers around some values; on a logarithmic axis these must be greater than zero.

    from_zero   the axis begins at zero, and lengths can be compared
    ceiling     where the quantity itself ends
    rows, down  of cells, and of dots in each: every label of a linear axis falls on a row of its own, as far from the next
                as that from the one after it, and tells its value exactly
    """
    low, high = max(low, -_LARGEST), min(high, _LARGEST)
    if log:
        return _log_bounds(low, high)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    least, most = low, high
    low, high = (0.0 if abs(value) < _NOTHING else value for value in (low, high))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-290):
        pad = abs(high) / 10 or 0.5
        low, high = low - pad, high + pad
        low = max(low, 0.0) if low + pad >= 0 else low
    every = range(2, rows) if rows > 3 else range(1, max(rows, 2))
    parts = min(max((rows - 1) // 2, 1), _MOST_PARTS)

    def worth(bounds: Bounds) -> float:
        """The less is left over the better, and then the closer to the usual number of parts; one alone says little."""
        found = len(bounds.labels()) - 1
        unusual = _PER_PART * abs(found - parts) + (found < min(parts, 2)) + (found > _MOST_PARTS)
        return (bounds.high - bounds.low) * (1 + unusual)

    found = min((_aligned(low, high, max(rows, 2) * down - 1, each * down, ceiling) for each in every), key=worth)
    return replace(found, low=min(found.low, least), high=max(found.high, most))


def _aligned(low: float, high: float, dots_between: int, dots_apart: int, ceiling: float | None) -> Bounds:
    """Bounds whose labels are so many dots apart: the least round step that reaches, and that can be written."""
    step = _round_up((high - low) * dots_apart / dots_between)
    while True:
        bottom = math.floor(low / step + 1e-9) * step
        bounds = Bounds(min(bottom, low), bottom + step * dots_between / dots_apart, step, ceiling=ceiling)
        coarse = step > 4 * max(abs(low), abs(high))
        if bounds.high >= high and (coarse or axis_labels(bounds.labels(), step) is not None):
            return bounds
        step = _round_up(step * 1.01)


def _log_bounds(low: float, high: float) -> Bounds:
    low = max(low, 1e-300)
    high = max(high, low)
    bottom, top = _round_below(low), _round_above(high)
    if top < 1.4 * bottom:
        bottom, top = _round_below(low / 1.2), _round_above(high * 1.2)
    return Bounds(min(bottom, low), max(top, high), 0.0, log=True)


def keep_bounds(
    known: Bounds | None,
    values: tuple[float, float] | None,
    *,
    log: bool,
    from_zero: bool,
    ceiling: float | None,
    rows: int = 9,
    down: int = 1,
) -> Bounds | None:
    """Return the bounds that are known as long as they hold the values, so that the axis stands still; else new ones."""
    if values is None:
        return known
    if known is not None and known.log == log and known.covers(*values):
        return known
    return nice_bounds(*values, log=log, from_zero=from_zero, ceiling=ceiling, rows=rows, down=down)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(part * power for part in (*_STEPS, 20.0) if part * power >= value * (1 - 1e-9))


def _round_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max((part * power for part in (0.7, *_ROUND) if part * power <= value), default=value)


def _round_above(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return min((part * power for part in (*_ROUND, 10.0, 15.0) if part * power >= value), default=value)


def _series(low: float, high: float, parts: tuple[float, ...], powers: int) -> Iterable[float]:
    for power in range(math.floor(math.log10(low) / powers) * powers, math.ceil(math.log10(high)) + 1, powers):
        for part in parts:
            yield part * 10.0**power


def extremes(columns: Iterable[Column], *, log: bool = False) -> tuple[float, float] | None:
    """Return the least and the greatest value of columns; of a logarithmic axis, of what is greater than zero."""
    least, greatest = math.inf, -math.inf
    for low, high, *_ in columns:
        if log:
            if high <= 0:
                continue
            low = low if low > 0 else high
        least, greatest = min(least, low), max(greatest, high)
    return (least, greatest) if least <= greatest else None


def dots(columns: dict[int, Column], count: int, rows: int, bounds: Bounds) -> list[int]:
    """Return the dots of each column as bits, the first bit being the top one. Neighbouring points are joined by a line."""
    masks = [0] * count

    before: tuple[int, int] | None = None
    for place in sorted(columns):
        column = columns[place]
        top, bottom = bounds.row(column.high, rows), bounds.row(column.low, rows)
        masks[place] |= ((1 << (bottom - top + 1)) - 1) << top
        entry = bounds.row(column.entry, rows)
        if column.joined and before is not None:
            _join(masks, *before, place, entry)
        before = place, bounds.row(column.leave, rows)
    return masks


def _join(masks: list[int], from_column: int, from_row: int, to_column: int, to_row: int) -> None:
    """Set the dots of a line; it is connected, and ends where the next column begins."""
    steps = to_column - from_column
    last = from_row
    for index in range(1, steps + 1):
        now = from_row + round((to_row - from_row) * index / steps)
        top, bottom = (last + 1, now) if now > last else (now, last - 1) if now < last else (now, now)
        masks[from_column + index] |= ((1 << (bottom - top + 1)) - 1) << top
        last = now


def smoothed(points: Points, reach: float) -> tuple[Point | None, ...]:
    """Return means in which a point counts less the further it lies behind: e times less every `reach` along the axis."""
    if reach <= 0:
        return tuple(points)
    result: list[Point | None] = []
    total = weight = 0.0
    before: float | None = None
    for point in points:
        if point is None:
            result.append(None)
            continue
        keep = 0.0 if before is None else math.exp(-max(point.x - before, 0.0) / reach)
        total, weight = total * keep + point.mean, weight * keep + 1.0
        before = point.x
        mean = total / weight
        result.append(Point(point.x, mean, mean, mean))
    return tuple(result)


def window(zoom: str, done: float, planned: float) -> tuple[float, float]:
    """Return the first and the last place of the horizontal axis. It stands still for a while, and then moves by a step.

    'all'      all that is planned, so that what is to come is seen as room
    'quarter'  the last quarter of what is done, and a little more
    a number   the last so many, and a little more
    """
    planned = max(planned, done, 1.0)
    if zoom == "all" or done <= 0:
        return 0.0, planned
    wanted = _round_up(max(done / 4, 4.0)) if zoom == "quarter" else float(zoom)
    move = max(wanted / 4, 1.0)
    end = min((math.floor(done / move) + 1) * move, planned)
    return max(0.0, end - wanted - move), end
