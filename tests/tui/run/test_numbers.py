"""Labels of six characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg_tui.run import numbers


@pytest.mark.parametrize(
    ("value", "step", "text"),
    [
        (0, 1, "0"),
        (2.5, 0.5, "2.5"),
        (2.25, 0.25, "2.25"),
        (0.0005, 0.0005, "0.0005"),
        (2.5e-5, 2.5e-5, "2.5e-5"),
        (12500, 2500, "12.5k"),
        (3.2e6, 1e5, "3.2M"),
        (90, 10, "90"),
        (1e-9, 0, "1e-9"),
    ],
)
def test_labels(value: float, step: float, text: str) -> None:
    assert numbers.axis_label(value, step) == text


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300))
def test_labels_fit_their_column(value: float, step: float) -> None:
    assert 0 < len(numbers.axis_label(value, step)) <= 6
