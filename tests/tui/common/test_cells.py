"""Texts in cells."""

import pytest

from tests.tui.runs.test_runs_watching import copy_run as copy_run
from tleg_tui.common.cells import fit_ends, sparkline


@pytest.mark.parametrize(
    ("values", "cells", "plain", "text"),
    [
        ((4.0, 2.0, 1.0), 3, False, "█▅▁"),
        ((4.0, 2.0, 1.0), 3, True, "'-_"),
        ((1.0, 1.0), 2, False, "▁▁"),
        ((-1.0, 0.0, 1.0, None), 4, False, "▁▅█ "),
        ((8.0, 2.0, None, None), 2, False, "▁ "),
        ((), 3, False, "   "),
        ((None, None), 2, False, "  "),
        ((3.0,), 0, False, ""),
    ],
)
def test_sparklines(values: tuple[float | None, ...], cells: int, plain: bool, text: str) -> None:
    assert sparkline(values, cells, plain=plain) == text


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("learn-digits", 14, "learn-digits  "),
        ("learn-digits", 12, "learn-digits"),
        ("finetune-fashion-mnist-depth12", 24, "finetune-fa…nist-depth12"),
        ("漢字漢字漢字", 8, "漢 …漢字"),
    ],
)
def test_a_long_name_keeps_both_ends(text: str, width: int, fitted: str) -> None:
    assert fit_ends(text, width) == fitted
