"""Curves as numbers: dots, bounds, labels, smoothing and the window."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg_tui.run import numbers
from tleg_tui.run.plotting import Bounds, Point, decimate, dots, extremes, keep_bounds, nice_bounds, smoothed, window

VALUES = st.floats(-1e12, 1e12, allow_nan=False)
POSITIVE = st.floats(1e-9, 1e12)


def curve_of(values: Sequence[float | None]) -> tuple[Point | None, ...]:
    """One point a step."""
    return tuple(None if value is None else Point(step, value, value, value) for step, value in enumerate(values))


@given(st.lists(st.none() | VALUES, min_size=1, max_size=300), st.integers(1, 400))
def test_extremes_survive_any_width(values: list[float | None], width: int) -> None:
    columns = decimate(curve_of(values), 0, len(values) - 1, width)
    known = [value for value in values if value is not None]
    assert extremes(columns.values()) == ((min(known), max(known)) if known else None)
    assert all(0 <= place < width for place in columns)


@given(st.lists(VALUES, min_size=2, max_size=100), st.integers(1, 80), st.integers(1, 60))
def test_every_value_has_its_dot(values: list[float], width: int, rows: int) -> None:
    columns = decimate(curve_of(values), 0, len(values) - 1, width)
    bounds = nice_bounds(min(values), max(values))
    masks = dots(columns, width, rows, bounds)
    assert len(masks) == width
    for place, column in columns.items():
        for value in (column.low, column.high):
            row = rows - 1 - int(bounds.share(value) * (rows - 1) + 0.5)
            assert masks[place] >> row & 1
    # Without a gap the line has none either.
    assert all(masks)
    assert all(mask < 1 << rows for mask in masks)


def test_a_value_that_is_missing_breaks_the_line() -> None:
    columns = decimate(curve_of([1.0, None, 1.0]), 0, 2, 21)
    masks = dots(columns, 21, 8, nice_bounds(0, 2))
    assert masks[0]
    assert masks[20]
    assert not any(masks[1:20])


@given(VALUES, VALUES, st.booleans(), st.integers(2, 60), st.sampled_from([1, 2, 4]))
def test_bounds_hold_the_values_with_round_labels(one: float, other: float, from_zero: bool, rows: int, down: int) -> None:
    low, high = min(one, other), max(one, other)
    bounds = nice_bounds(low, high, from_zero=from_zero, rows=rows, down=down)
    assert bounds.covers(low, high)
    assert bounds.low < bounds.high
    assert low < 0 or bounds.low >= 0
    assert not from_zero or bounds.covers(0, 0)
    assert 0 <= bounds.share(low) <= bounds.share(high) <= 1
    check_labels(bounds, rows, down)


def read(text: str) -> float:
    return float(text.rstrip("kMG")) * {"k": 1e3, "M": 1e6, "G": 1e9}.get(text[-1], 1)


def check_labels(bounds: Bounds, rows: int, down: int) -> None:
    """Labels are as far apart in rows as in values, all different, and each says where it stands."""
    ticks = sorted(bounds.ticks(rows, down).items(), reverse=True)
    assert 1 <= len(ticks) <= 7
    texts = numbers.axis_labels([value for _, value in ticks], bounds.step)
    assert texts is not None
    assert len(set(texts)) == len(texts)
    between = {(above[0] - below[0], round((above[1] - below[1]) / bounds.step, 3)) for below, above in pairwise(ticks)}
    assert len(between) <= 1, ticks
    for (row, value), text in zip(ticks, texts, strict=True):
        assert len(text) <= 6
        assert read(text) == pytest.approx(value, rel=1e-4, abs=1e-6 * bounds.step)
        assert bounds.row(read(text), rows * down) // down == row


@pytest.mark.parametrize("rows", [4, 7, 12, 18, 33])
@pytest.mark.parametrize(
    ("low", "high", "from_zero"),
    [
        (0, 1.3e-4, True),  # '0', '0.0001', '0.0001', '0.0002', '0.0002' were such labels.
        (0, 9.9e-4, True),
        (0, 2.1e-5, True),
        (2.5e-4, 7.5e-4, False),
        (1.3, 2.4, False),  # 2.4 2.2 1.8 1.6 1.4
        (32.5, 45, False),  # 45 42.5 37.5 35 32.5
        (0, 100, False),
        (97.4, 99.9, False),
        (1.23456, 1.23457, False),
        (9990, 10010, False),
        (123_456, 123_467, False),
        (0, 43_210, True),
        (5, 5, False),
        (0, 0, False),
        (-3, 2, False),
    ],
)
def test_labels_of_an_axis_are_exact_and_evenly_apart(low: float, high: float, from_zero: bool, rows: int) -> None:
    for down in (1, 2, 4):
        bounds = nice_bounds(low, high, from_zero=from_zero, ceiling=100 if high <= 100 else None, rows=rows, down=down)
        check_labels(bounds, rows, down)
        assert rows < 7 or len(bounds.labels()) >= 3 or high > 1e5 or high - low < 1e-3 * high
        assert high > 100 or max(bounds.labels()) <= 100
        if high - low > 1e-3 * high:
            assert bounds.high - bounds.low <= 2.5 * max(high - (0 if from_zero else low), 1e-9)


def test_what_is_smaller_than_labels_can_tell_is_drawn_flat() -> None:
    bounds = nice_bounds(1.2345612, 1.2345613, rows=12, down=4)
    assert bounds.covers(1.2345612, 1.2345613)
    assert bounds.high - bounds.low > 1e-4


@given(POSITIVE, POSITIVE, st.integers(4, 60))
def test_logarithmic_labels_are_round_and_have_room(one: float, other: float, rows: int) -> None:
    bounds = nice_bounds(min(one, other), max(one, other), log=True)
    ticks = bounds.ticks(rows, 4)
    assert len(ticks) >= 2
    assert all(above - below >= 2 for below, above in pairwise(sorted(ticks)))
    assert [ticks[row] for row in sorted(ticks)] == sorted(ticks.values(), reverse=True)


@given(POSITIVE, POSITIVE)
def test_logarithmic_bounds_hold_the_values(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    bounds = nice_bounds(low, high, log=True)
    assert 0 < bounds.low <= low <= high <= bounds.high
    assert bounds.share(0.0) == 0.0
    assert bounds.share(low) <= bounds.share(high)


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_the_axis_changes_only_when_it_is_exceeded(values: list[float]) -> None:
    bounds: Bounds | None = None
    for end in range(1, len(values) + 1):
        seen = min(values[:end]), max(values[:end])
        before = bounds
        bounds = keep_bounds(bounds, seen, log=False, from_zero=False, ceiling=None)
        assert bounds is not None
        assert bounds.covers(*seen)
        assert bounds is before or before is None or not before.covers(*seen)


@given(st.lists(st.none() | st.floats(0, 10), max_size=50))
def test_a_logarithmic_axis_takes_zeros_and_gaps(values: list[float | None]) -> None:
    columns = decimate(curve_of(values), 0, max(len(values) - 1, 1), 40)
    found = extremes(columns.values(), log=True)
    positive = [value for value in values if value]
    assert (found is None) == (not positive)
    if found is not None:
        bounds = nice_bounds(*found, log=True)
        masks = dots(columns, 40, 20, bounds)
        assert all(masks[place] for place in columns)


@given(st.lists(st.none() | VALUES, max_size=80), st.floats(0.1, 100))
def test_smoothing_stays_within_the_values(values: list[float | None], reach: float) -> None:
    result = smoothed(curve_of(values), reach)
    assert [point is None for point in result] == [value is None for value in values]
    known = [value for value in values if value is not None]
    for point in result:
        if point is not None:
            slack = 1e-6 * max(abs(value) for value in known) + 1e-9
            assert min(known) - slack <= point.mean <= max(known) + slack


@given(st.sampled_from(["all", "quarter", "200"]), st.integers(0, 10**6), st.integers(1, 10**6))
def test_the_window_shows_the_present(zoom: str, done: int, planned: int) -> None:
    first, last = window(zoom, done, planned)
    assert 0 <= first < last
    assert first <= done <= last
    if zoom == "all":
        assert (first, last) == (0, max(planned, done, 1))
    elif zoom == "200" and done >= 200:
        assert done - first >= 200


def test_the_window_stands_still_and_then_moves() -> None:
    places = [window("200", done, 5000) for done in range(1000, 1100)]
    assert len(set(places)) == 2
