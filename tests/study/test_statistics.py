"""Spreads and tests of a few seeds, against published tables and by what must hold."""

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.study.statistics import holm, paired, student_p, student_quantile, student_within, summarise

NUMBERS = st.floats(-1000, 1000, allow_nan=False)


@pytest.mark.parametrize(
    ("degrees", "critical"),
    # Two-sided 5 %, as every table of Student's t has it.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042)],
)
def test_critical_values_are_those_of_the_tables(degrees: int, critical: float) -> None:
    assert student_quantile(0.95, degrees) == pytest.approx(critical, abs=6e-4)
    assert student_p(critical, degrees) == pytest.approx(0.05, abs=1e-4)


@given(st.floats(0, 50), st.integers(1, 40))
def test_student_is_symmetric_and_rises(t: float, degrees: int) -> None:
    assert student_p(t, degrees) == student_p(-t, degrees)
    assert 0 <= student_within(t, degrees) <= student_within(t + 0.5, degrees) + 1e-12 <= 1 + 1e-11


@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_a_summary_is_that_of_the_standard_library(values: list[float]) -> None:
    found = summarise(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.std == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_one_value_has_no_spread_and_is_not_tested() -> None:
    assert summarise([3.0]).std is None
    single = paired({0: 5.0}, {0: 3.0})
    assert single is not None
    assert (single.n, single.difference, single.p, single.interval) == (1, 2.0, None, None)
    assert paired({0: 1.0}, {1: 1.0}) is None
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_pairs_are_compared_by_their_key() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) with two degrees, p = 0.0742 by the table's formula.
    found = paired({1: 12.0, 2: 3.0, 3: 7.0, 9: 0.0}, {2: 1.0, 1: 11.0, 3: 4.0})
    assert found is not None
    assert (found.n, found.difference) == (3, 2.0)
    assert found.std == pytest.approx(1.0)
    assert found.t == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(1 - 2 * math.sqrt(3) / math.sqrt(2 + 12), abs=1e-9)
    assert found.interval == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-3)


@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_a_correction_only_raises_and_keeps_the_order(values: list[float | None]) -> None:
    corrected = holm(values)
    pairs = [(before, after) for before, after in zip(values, corrected, strict=True) if before is not None]
    assert [after is None for after in corrected] == [value is None for value in values]
    assert all(after is not None and before <= after <= 1 for before, after in pairs)
    ordered = sorted((before, after or 0.0) for before, after in pairs)
    assert all(one[1] <= other[1] for one, other in itertools.pairwise(ordered))


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx((0.03, None, 0.06, 0.06))
