"""The plots of a study: accuracy by depth, and against the compute of training. Standard library only."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tleg.axes import Axis, draw_frame, power_ticks, round_ticks
from tleg.picture import Circle, Path, Picture, Rectangle, Shape, Words
from tleg.study.markup import plain
from tleg.study.measured import Measured, points
from tleg.study.statistics import summarise
from tleg.text import format_count, without_zeros

# Readable on a light and on a dark page; arms beyond them begin anew with another mark.
SERIES: Final = ("#2f7fd6", "#e8457a", "#b7791f", "#2a9d6f", "#8f63d2", "#d9622b", "#1f9db0", "#8a8f98")
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _SIDE = 760.0, 400.0, 56.0, 48.0, 52.0, 210.0
_RIGHT: Final = _WIDTH - _SIDE
_LONGEST: Final = 24


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a series, and how far its error bar reaches up and down: None without a spread."""

    x: float
    y: float
    spread: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """The points of an arm, by rising x."""

    name: str
    points: tuple[Point, ...]
    colour: str
    mark: int


def make_plots(measured: Measured) -> dict[str, Picture]:
    """Return the plots by name, 'accuracy/DATA' and 'compute/DATA': those for which there is something to show."""
    plots: dict[str, Picture | None] = {}
    for data in measured.data:
        plots[f"accuracy/{data}"] = draw_accuracy(measured, data)
        plots[f"compute/{data}"] = draw_compute(measured, data)
    return {name: plot for name, plot in plots.items() if plot is not None}


def draw_accuracy(measured: Measured, data: str) -> Picture | None:
    """Accuracy by depth, with the standard deviation over seeds as error bars."""
    series = []
    for arm in measured.arms_on(data):
        summaries = {depth: measured.accuracy(arm, data, depth) for depth in measured.depths_of(arm, data)}
        found = tuple(Point(depth, each.mean, each.std) for depth, each in summaries.items() if each is not None)
        if found:
            series.append(_series(measured, arm, found))
    if not series:
        return None
    depths = sorted({point.x for each in series for point in each.points})
    room = max((depths[-1] - depths[0]) * 0.06, 0.5)
    across = Axis(depths[0] - room, depths[-1] + room, _LEFT, _RIGHT)
    # Arms side by side, so that equal ones and their error bars do not hide each other.
    step = min(5.0, 24.0 / len(series), 0.5 * (_RIGHT - _LEFT) / (len(depths) * len(series)))
    shifts = [step * (index - (len(series) - 1) / 2) for index in range(len(series))]
    what = f"{plain(data)}: accuracy by depth"
    return _draw(what, "depth", across, [(depth, f"{depth:g}") for depth in depths], series, shifts)


def draw_compute(measured: Measured, data: str) -> Picture | None:
    """Mean accuracy over depths against the compute of training the whole family."""
    series = []
    for arm in measured.arms_on(data):
        if found := _course(measured, arm, data):
            series.append(_series(measured, arm, found))
    what = f"{plain(data)}: mean accuracy over depths by compute"
    return draw_against(what, "multiply-accumulates of training, for all depths together", series)


def named_series(named: Mapping[str, Sequence[Point]]) -> list[Series]:
    """Points by name as series, each with a colour and a mark of its own; those without points are left out."""
    return [
        Series(plain(name), tuple(points), SERIES[index % len(SERIES)], index // len(SERIES) % 3)
        for index, (name, points) in enumerate(named.items())
        if points
    ]


def draw_against(
    title: str, below: str, series: Sequence[Series], form: Callable[[float], str] = format_count
) -> Picture | None:
    """Accuracy in percent against an amount, by its logarithm where it differs much; None without any points.

    below  what the amount is
    form   how it is written
    """
    values = [point.x for each in series for point in each.points]
    if not values:
        return None
    logarithmic = min(values) > 0 and max(values) / min(values) > 8
    if logarithmic:
        across = Axis(min(values) / 1.2, max(values) * 1.2, _LEFT, _RIGHT, logarithmic=True)
        ticks = power_ticks(across.low, across.high)
    else:
        across = Axis(0.0, max(values) * 1.05, _LEFT, _RIGHT)
        ticks = round_ticks(0.0, across.high, 6)
    labels = [(tick, without_zeros(form(tick))) for tick in ticks]
    return _draw(title, below, across, labels, series, [0.0] * len(series))


def _course(measured: Measured, arm: str, data: str) -> tuple[Point, ...]:
    """How the mean accuracy of an arm's family grows, at the epochs at which each of its trainings was evaluated.

    Empty where compute is not known. The end is among the points also where trainings of the arm have different epochs.
    """
    families = list(measured.families(arm, data))
    before = measured.before(arm, data, "macs")
    if before is None or not families or any(each.macs is None for family in families for each in family):
        return ()
    courses = [[points(each) for each in family] for family in families]
    flat = [course for family in courses for course in family]
    found = []
    if len({course[-1].epoch for course in flat}) == 1:
        shared = set.intersection(*({point.epoch for point in course[:-1] if point.macs and point.top1} for course in flat))
        for epoch in sorted(shared):
            at = [[next(point for point in course if point.epoch == epoch) for course in family] for family in courses]
            depths = [sorted(depth for point in family for depth in point.top1) for family in at]
            if all(each == sorted(measured.depths_of(arm, data)) for each in depths):
                costs = [sum(point.macs or 0 for point in family) for family in at]
                means = [_mean([top1 for point in family for top1 in point.top1.values()]) for family in at]
                found.append(Point(before + _mean(costs), _mean(means)))
    ends = [_mean([top1 for each in family for top1 in each.top1.values()]) for family in families]
    total = _mean([sum(each.macs or 0 for each in family) for family in families])
    found.append(Point(before + total, _mean(ends), summarise(ends).std))
    return tuple(found)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _series(measured: Measured, arm: str, found: tuple[Point, ...]) -> Series:
    index = measured.arms.index(arm)
    return Series(plain(arm), found, SERIES[index % len(SERIES)], index // len(SERIES) % 3)


def _draw(
    title: str,
    below: str,
    across: Axis,
    ticks: Sequence[tuple[float, str]],
    series: Sequence[Series],
    shifts: Sequence[float],
) -> Picture:
    height = max(_HEIGHT, _TOP + 20.0 * len(series) + 40)
    reach = [point.y + sign * (point.spread or 0.0) for each in series for point in each.points for sign in (-1, 1)]
    low, high = min(reach), max(reach)
    room = max((high - low) * 0.08, 0.5)
    up = Axis(max(low - room, 0.0), min(high + room, 100.0), height - _BOTTOM, _TOP)
    picture = Picture(_WIDTH, height, title)
    picture.add(Words(20, 28, f"{title}, in percent", size=15))
    draw_frame(picture, across, up, ticks, below)
    for each, shift in zip(series, shifts, strict=True):
        spots = [(across.place(point.x) + shift, up.place(point.y)) for point in each.points]
        _draw_series(picture, each, spots, up)
    for index, each in enumerate(series):
        y = _TOP + 12 + 20 * index
        name = each.name if len(each.name) <= _LONGEST else f"{each.name[: _LONGEST - 3]}..."
        picture.add(
            Path(((_RIGHT + 16, y - 4), (_RIGHT + 36, y - 4)), each.colour, 2),
            *_mark(each, _RIGHT + 26, y - 4),
            Words(_RIGHT + 44, y, name, "ink", 12),
        )
    return picture


def _draw_series(picture: Picture, series: Series, spots: Sequence[tuple[float, float]], up: Axis) -> None:
    for point, (x, _) in zip(series.points, spots, strict=True):
        if point.spread:
            ends = [up.place(min(max(point.y + sign * point.spread, up.low), up.high)) for sign in (-1, 1)]
            picture.add(Path(((x, ends[0]), (x, ends[1])), series.colour, 1.2))
            picture.add(*(Path(((x - 3, end), (x + 3, end)), series.colour, 1.2) for end in ends))
    if len(spots) > 1:
        picture.add(Path(tuple(spots), series.colour, 2))
    for x, y in spots:
        picture.add(*_mark(series, x, y))


def _mark(series: Series, x: float, y: float) -> tuple[Shape, ...]:
    match series.mark:
        case 0:
            return (Circle(x, y, 4, series.colour),)
        case 1:
            return (Rectangle(x - 4, y - 4, 8, 8, series.colour),)
        case _:
            return (Circle(x, y, 4.5, series.colour), Circle(x, y, 2.5, "card"))
