"""The table beside float32."""

from tests.tui.export.test_reports import COST
from tleg_tui.export.cost import cost_lines, read_cost


def test_each_figure_has_a_line() -> None:
    cost = read_cost(COST)
    assert cost is not None
    assert list(cost_lines(cost, "int8")) == [
        "beside float32             float32          int8",
        "  top-1, depth 8           88.26 %       88.20 %",
        "  top-1                    50.00 %       49.50 %",
        "  size                      1.6 MB      519.2 kB",
        "  one image, 1 thread      0.60 ms       0.58 ms",
        "accuracy on 10,000 images of fashion-mnist validation; ranges from 512 images of fashion-mnist",
    ]


def test_what_was_not_measured_has_none() -> None:
    cost = read_cost({**COST, "seconds": None, "accuracies": [], "data": None, "calibration": None})
    assert cost is not None
    assert [line.split("  ")[0] or line.split()[0] for line in cost_lines(cost, "float16")] == [
        "beside float32",
        "size",
        "accuracy not measured",
    ]
