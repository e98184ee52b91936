"""When a training evaluates and saves."""

from typing import Any

import pytest

from tleg.recipes.training import Keeping
from tleg.training.occasions import Occasions


def saved(last: int = 0, seconds: float = 0.0, **keeping: Any) -> list[int]:
    occasions = Occasions(Keeping(**keeping), 30, 5)
    return [step for step in range(1, 31) if occasions.saves(step, last, seconds)]


def evaluated(every: int) -> list[int]:
    occasions = Occasions(Keeping(evaluate_every=every), 30, 5)
    return [step for step in range(1, 31) if occasions.evaluates(step)]


def test_evaluations() -> None:
    assert evaluated(1) == [5, 10, 15, 20, 25, 30]
    assert evaluated(4) == [20, 30]
    assert evaluated(0) == []


@pytest.mark.parametrize("every", [0, 1, 3])
def test_checkpoints_that_are_kept_need_no_evaluation(every: int) -> None:
    assert saved(keep_every=2, evaluate_every=every) == [10, 20, 30]
    assert saved(keep_every=2, evaluate_every=every, checkpoint_steps=100) == [10, 20, 30]
    occasions = Occasions(Keeping(keep_every=2, evaluate_every=every), 30, 5)
    assert [step for step in range(1, 31) if occasions.keeps(step)] == [10, 20, 30]


def test_zero_minutes_are_the_ends_of_epochs() -> None:
    assert saved(checkpoint_minutes=0, evaluate_every=0) == [5, 10, 15, 20, 25, 30]
    # Steps are instead of minutes.
    assert saved(checkpoint_minutes=0, checkpoint_steps=28) == [28, 29, 30]


def test_minutes_and_steps() -> None:
    assert saved(checkpoint_minutes=2, seconds=119) == []
    assert saved(checkpoint_minutes=2, seconds=120) == list(range(1, 31))
    assert saved(checkpoint_steps=3, last=20, seconds=1e6) == list(range(23, 31))
