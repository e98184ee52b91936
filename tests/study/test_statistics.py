"""Statistics of a few seeds, against published tables and by their symmetries."""

import math
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.study.statistics import holm, paired, student_p, student_quantile, student_within, summarise

# Two-sided 5 % and 1 % points of Student's t: the tables that every textbook prints (NIST's handbook, 1.3.6.7.2).
PUBLISHED = {
    1: (12.706, 63.657),
    2: (4.303, 9.925),
    3: (3.182, 5.841),
    4: (2.776, 4.604),
    5: (2.571, 4.032),
    6: (2.447, 3.707),
    7: (2.365, 3.499),
    8: (2.306, 3.355),
    9: (2.262, 3.250),
    10: (2.228, 3.169),
    15: (2.131, 2.947),
    20: (2.086, 2.845),
    29: (2.045, 2.756),
    30: (2.042, 2.750),
    60: (2.000, 2.660),
    100: (1.984, 2.626),
}
degrees = st.integers(1, 60)
values = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 3))


@pytest.mark.parametrize("degree", PUBLISHED)
def test_students_t_is_that_of_the_tables(degree: int) -> None:
    for within, published in zip((0.95, 0.99), PUBLISHED[degree], strict=True):
        assert student_quantile(within, degree) == pytest.approx(published, abs=6e-4)
        assert student_p(published, degree) == pytest.approx(1 - within, rel=2e-3)


def test_students_t_has_closed_forms_for_one_and_two_degrees() -> None:
    for t in (0.1, 1.0, 5.0, 40.0):
        assert student_within(t, 1) == pytest.approx(2 / math.pi * math.atan(t), rel=1e-14)
        assert student_within(t, 2) == pytest.approx(t / math.sqrt(2 + t * t), rel=1e-14)
    assert student_within(1.0, 1) == pytest.approx(0.5, rel=1e-15)


@given(st.floats(0.0, 50.0), degrees)
def test_students_t_is_the_integral_of_its_density(t: float, degree: int) -> None:
    scale = math.exp(math.lgamma((degree + 1) / 2) - math.lgamma(degree / 2)) / math.sqrt(degree * math.pi)
    # Simpson's rule in the angle, in which the density is smooth: x = sqrt(degree) tan(angle).
    end, steps = math.atan2(t, math.sqrt(degree)), 400
    heights = [math.cos(end * index / steps) ** (degree - 1) for index in range(steps + 1)]
    weights = [1, *(4 if index % 2 else 2 for index in range(1, steps)), 1]
    area = sum(weight * height for weight, height in zip(weights, heights, strict=True)) * end / steps / 3
    assert student_within(t, degree) == pytest.approx(2 * scale * math.sqrt(degree) * area, abs=1e-9)


@given(st.floats(0.001, 0.999), degrees)
def test_a_quantile_is_the_inverse(within: float, degree: int) -> None:
    assert student_within(student_quantile(within, degree), degree) == pytest.approx(within, abs=1e-12)


@given(st.floats(-100, 100), degrees)
def test_p_knows_no_direction_and_lies_between_0_and_1(t: float, degree: int) -> None:
    assert student_p(t, degree) == student_p(-t, degree)
    assert 0.0 <= student_p(t, degree) <= 1.0


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="degree"):
        student_p(1.0, 0)
    with pytest.raises(ValueError, match="below 1"):
        student_quantile(1.0, 3)
    with pytest.raises(ValueError, match="no mean"):
        summarise([])


@given(st.lists(values, min_size=2, max_size=12))
def test_mean_and_spread_are_those_of_the_standard_library(numbers: list[float]) -> None:
    summary = summarise(numbers)
    exact = [Fraction(number) for number in numbers]
    assert summary.n == len(numbers)
    assert summary.mean == pytest.approx(float(statistics.mean(exact)), abs=1e-9)
    assert summary.std == pytest.approx(float(statistics.stdev(exact)), abs=1e-9)


def test_one_value_has_no_spread_and_one_pair_no_test() -> None:
    assert (summarise([58.5]).mean, summarise([58.5]).std) == (58.5, None)
    result = paired({0: 60.0}, {0: 58.5})
    assert result is not None
    assert (result.n, result.difference, result.std, result.interval, result.t, result.p) == (1, 1.5, None, None, None, None)
    assert paired({0: 60.0}, {1: 58.5}) is None


def test_students_own_data() -> None:
    """Hours of sleep gained by two drugs, ten patients (Student, 1908, page 20), as R's t.test has them."""
    first = dict(enumerate((1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4)))
    second = dict(enumerate((0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0)))
    result = paired(first, second)
    assert result is not None
    assert result.interval is not None
    assert result.n == 10
    assert result.difference == pytest.approx(1.58)
    assert result.t == pytest.approx(4.0621, abs=5e-5)
    assert result.p == pytest.approx(0.002833, abs=5e-7)
    assert result.interval == pytest.approx((0.7001142, 2.4598858), abs=5e-7)


def test_pairs_are_found_by_their_keys() -> None:
    result = paired({("a", 0): 3.0, ("a", 1): 5.0, ("b", 0): 1.0}, {("b", 0): 0.0, ("a", 1): 3.0, ("c", 9): 7.0})
    assert result is not None
    assert (result.n, result.difference) == (2, 1.5)


@given(st.dictionaries(st.integers(0, 9), values, min_size=2), st.dictionaries(st.integers(0, 9), values, min_size=2))
def test_the_other_way_round_differences_change_their_sign(first: dict[int, float], second: dict[int, float]) -> None:
    there, back = paired(first, second), paired(second, first)
    if there is None or back is None:
        assert there is back is None
        return
    assert (there.n, there.difference, there.std, there.p) == (back.n, -back.difference, back.std, back.p)
    if there.interval is not None and back.interval is not None:
        assert there.interval == (-back.interval[1], -back.interval[0])
        assert there.p is not None
        # The interval leaves 0 out exactly where the test says so.
        if abs(there.p - 0.05) > 1e-9:
            assert (there.interval[0] > 0 or there.interval[1] < 0) == (there.p < 0.05)


@given(st.floats(-50, 50), st.floats(0, 99))
def test_equal_differences_are_not_tested(shift: float, base: float) -> None:
    """Three seeds with the same difference, as of accuracies in steps of 0.1: rounding is no spread."""
    result = paired({seed: base + seed / 10 + shift for seed in range(3)}, {seed: base + seed / 10 for seed in range(3)})
    assert result is not None
    assert (result.std, result.interval, result.p) == (0.0, None, None)


def test_holm_corrects_as_published() -> None:
    """Four tests with p of 0.01, 0.04, 0.03 and 0.005: R's p.adjust(method = "holm") gives these."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, None, 0.7]) == (1.0, None, 1.0)
    assert holm([]) == ()


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8))
def test_holm_keeps_the_order_and_never_makes_p_smaller(ps: list[float | None]) -> None:
    corrected = holm(ps)
    pairs = sorted((p, q) for p, q in zip(ps, corrected, strict=True) if p is not None and q is not None)
    assert all(q >= p and q <= 1 for p, q in pairs)
    assert [q for _, q in pairs] == sorted(q for _, q in pairs)
    assert [p is None for p in ps] == [q is None for q in corrected]
    tested = [p for p in ps if p is not None]
    if tested:
        assert min(q for _, q in pairs) == min(1.0, min(tested) * len(tested))
