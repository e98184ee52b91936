"""Cosines with a teacher's features, as a learngene's header keeps them."""

from typing import Any

import pytest

import tleg
from tleg.errors import FileFormatError
from tleg.learngene.feature_cosine import FeatureCosine, feature_cosine_in, with_feature_cosine

FOUND = FeatureCosine.of("dinov2", "photos validation", 5000, (28, 28), {2: 0.91234567, (2, 2, 6, 2): -1.0000001})


def test_what_is_kept_comes_back() -> None:
    record = with_feature_cosine({"epochs": 3}, FOUND)
    assert record["epochs"] == 3
    assert feature_cosine_in(record) == FOUND
    assert FOUND.figures == {2: 0.9123, (2, 2, 6, 2): -1.0}
    assert str(FOUND) == "with the features of dinov2, on 5,000 images of photos validation"


def test_older_files_have_none() -> None:
    assert feature_cosine_in(tleg.read_header("fashion-mnist").learned) is None
    assert tleg.preview("fashion-mnist", [3]).rows[0].cosine is None


@pytest.mark.parametrize("figures", [{"2": 1.5}, {"2": float("nan")}, {"x": 0.5}, [0.5]])
def test_a_damaged_record_is_refused(figures: Any) -> None:
    record = with_feature_cosine({}, FOUND)
    record["feature_cosine"]["by_depth"] = figures
    with pytest.raises(FileFormatError):
        feature_cosine_in(record)
