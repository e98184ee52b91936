"""What the table of runs writes."""

import pytest

from tests.tui.runs.test_runs_watching import copy_run as copy_run
from tleg_tui.runs.table import coarse, short_name


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "<1 min"), (59, "<1 min"), (61, "1 min"), (3600, "1 h"), (47 * 3600, "47 h"), (49 * 3600, "2 d")],
)
def test_ages_are_coarse(seconds: float, text: str) -> None:
    assert coarse(seconds) == text


def test_names_are_what_a_person_gave() -> None:
    assert short_name("261124-035312-learn-deit-small") == "learn-deit-small"
    assert short_name("mine") == "mine"
