"""What is said before a training begins."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from torch import nn

from tleg.recipes.training import Recipe
from tleg.training.plan import Plan
from tleg.training.remarks import remarks


@pytest.mark.parametrize(("size", "accumulate", "said"), [(1, 1, False), (2, 1, True), (1, 2, True)])
def test_batch_norm_sees_parts_of_a_step(size: int, accumulate: int, said: bool) -> None:
    recipe = Recipe(batch_size=64, accumulate=accumulate)
    for student, has in ((nn.Sequential(nn.BatchNorm2d(1)), True), (nn.Sequential(nn.LayerNorm(1)), False)):
        plan: Any = SimpleNamespace(world=SimpleNamespace(size=size), recipe=recipe, student=student)
        found = remarks(cast(Plan, plan))
        assert bool(found) == (said and has)
        if found:
            assert "each of 2 parts of a step, 32 images, not from the step's 64" in found[0][1]
