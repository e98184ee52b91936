"""Axes: places of values, round values within, and the frame around a picture."""

import pytest

from tleg.axes import Axis, draw_frame, enough_ticks, power_ticks, round_ticks
from tleg.picture import Path, Picture, Words


def test_values_lie_evenly_or_by_their_logarithm() -> None:
    assert Axis(0, 10, 100, 300).place(5) == 200
    assert Axis(0, 10, 300, 100).place(1) == 280
    assert Axis(1, 100, 0, 10, logarithmic=True).place(10) == 5


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (0.3, 1.1, 5, [0.4, 0.6, 0.8, 1.0]),
        (83.1, 88.4, 3, [85]),
        (0, 2_400_000, 9, [0, 500_000, 1_000_000, 1_500_000, 2_000_000]),
    ],
)
def test_round_values_are_multiples_of_1_2_or_5(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert round_ticks(low, high, most) == ticks


def test_an_axis_has_two_round_values_at_least() -> None:
    assert round_ticks(83.1, 88.4, 2) == []
    assert enough_ticks(83.1, 88.4, 2) == [84, 86, 88]
    assert enough_ticks(0, 10, 6) == round_ticks(0, 10, 6)


def test_powers_are_fewer_where_the_axis_is_long() -> None:
    assert power_ticks(1, 20) == [1, 2, 5, 10, 20]
    assert power_ticks(1, 10_000) == [1, 10, 100, 1_000, 10_000]


def test_the_frame_has_a_line_for_each_round_value_and_a_mark_for_each_tick() -> None:
    picture = Picture(200, 100, "")
    draw_frame(picture, Axis(0, 4, 20, 180), Axis(0, 10, 80, 10), [(1, "one"), (3, "three")], "cost")
    words = {shape.text: (shape.x, shape.y) for shape in picture.shapes if isinstance(shape, Words)}
    assert words == {
        **{f"{value}": (12, 84 - 7 * value) for value in (0, 2, 4, 6, 8, 10)},
        "one": (60, 99),
        "three": (140, 99),
        "cost": (100, 120),
    }
    assert sum(isinstance(shape, Path) for shape in picture.shapes) == 6 + 2 + 1
