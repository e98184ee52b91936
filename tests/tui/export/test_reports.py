"""What the dialog reads of `tleg build --jsonl`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tleg_tui.export.cost import Cost
from tleg_tui.export.reports import Figures, read_report

COST = {
    "bytes": [1_600_000, 519_200],
    "seconds": [0.0006, 0.00058],
    "accuracies": [{"depth": "8", "before": 88.26, "after": 88.2}, {"depth": None, "before": 50, "after": 49.5}],
    "data": "fashion-mnist validation",
    "images": 10_000,
    "max_drop": 0.5,
    "calibration": {"data": "fashion-mnist", "images": 512},
}


def figures(**built: Any) -> Figures:
    document = {"path": "a.onnx", "bytes": 7, "verification": None, **built}
    report = read_report(json.dumps({"stage": "done", "index": 0, "count": 1, "built": document}))
    assert report is not None
    assert report.figures is not None
    return report.figures


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"stage": 3, "index": 0, "count": 1}', '{"stage": "done"}'])
def test_a_line_that_is_no_report_is_passed_over(line: str) -> None:
    assert read_report(line) is None


def test_a_report_without_verification_has_no_figures_of_it() -> None:
    built = {"path": "a.onnx", "bytes": 7, "verification": None}
    report = read_report(json.dumps({"stage": "done", "index": 1, "count": 2, "built": built}))
    assert report is not None
    assert report.figures is not None
    assert (report.index, report.figures.bytes, report.figures.error) == (1, 7, None)


def test_a_note_of_an_export_is_kept() -> None:
    built = {"path": "a", "bytes": 7, "verification": None, "note": "tleg opens it and timm alone does not"}
    for document, note in ((built, built["note"]), ({**built, "note": 3}, None), ({"path": "a", "bytes": 7}, None)):
        report = read_report(json.dumps({"stage": "done", "index": 0, "count": 1, "built": document}))
        assert report is not None
        assert report.figures is not None
        assert report.figures.note == note


def test_images_that_were_looked_at_are_told() -> None:
    line = {"stage": "measuring", "index": 0, "count": 1}
    for images, read in (([64, 512], (64, 512)), ([64], None), ("64", None), ([True, "a"], None), (None, None)):
        report = read_report(json.dumps({**line, "images": images}))
        assert report is not None
        assert report.images == read


def test_what_smaller_numbers_cost_is_read() -> None:
    assert figures(beside_float32=COST).cost == Cost(
        bytes=(1_600_000, 519_200),
        seconds=(0.0006, 0.00058),
        accuracies=(("8", 88.26, 88.2), (None, 50.0, 49.5)),
        images="accuracy on 10,000 images of fashion-mnist validation; ranges from 512 images of fashion-mnist",
    )
    unmeasured = figures(beside_float32={**COST, "seconds": None, "accuracies": [], "data": None, "calibration": None}).cost
    assert unmeasured == Cost((1_600_000, 519_200), None, (), "accuracy not measured")
    for damaged in (None, 3, {}, {**COST, "bytes": [1]}, {**COST, "seconds": "fast"}, {**COST, "accuracies": [{}]}):
        assert figures(beside_float32=damaged).cost is None


def test_a_manifest_counts_that_has_lines_of_python() -> None:
    assert figures(manifest="a.json", example="import onnxruntime").manifest == Path("a.json")
    assert figures(manifest="a.json").manifest is None
