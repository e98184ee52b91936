"""Limits as people type them."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"parameters": "20M"}, (20_000_000, None, None, None, 1)),
        ({"macs": "3"}, (None, 3_000_000_000, None, None, 1)),
        ({"macs": "3G", "batch": "8"}, (None, 3_000_000_000, None, None, 8)),
        ({"size": "20", "memory": "1GiB"}, (None, None, 20_000_000, 2**30, 1)),
        ({"size": "≤ 5 MB", "parameters": "-"}, (None, None, 5_000_000, None, 1)),
    ],
)
def test_budgets_as_people_type_them(texts: dict[str, str], expected: tuple[Any, ...]) -> None:
    from tleg_tui.workbench.budget import read_budget

    wanted = read_budget(texts)
    budget, batch = wanted.budget, wanted.batch
    assert wanted.problem is None
    assert (budget.parameters, budget.macs, budget.size, budget.inference_memory, batch) == expected
