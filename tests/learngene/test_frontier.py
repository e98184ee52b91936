"""Accuracy over cost: which descendants are points, where they lie, and what the picture cannot show is said."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

import tleg
from tleg.learngene.device import Device, DeviceProfile, LatencyLine, LatencyPoint, Runtime
from tleg.learngene.frontier import AXES, Frontier, FrontierPoint, TunedPoint, make_frontier
from tleg.learngene.frontier_cells import Cell, legend, plot_cells, runs
from tleg.learngene.frontier_picture import draw_frontier
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.preview import preview
from tleg.learngene.reached import Reached

OWN = (28, 28)


@pytest.fixture(scope="module")
def header() -> LearngeneHeader:
    """Trained at depths 4 and 12 and measured at 4, 6, 8 and 12: the accuracies are 80, 81, 82, 83."""
    shipped = tleg.read_header("fashion-mnist")
    reached = Reached("fashion-mnist validation", 10_000, {4: 80.0, 6: 81.0, 8: 82.0, 12: 83.0})
    return replace(shipped, reached=reached, further=(), auxiliary=replace(shipped.auxiliary, sampled_depths=(4, 12)))


def test_measured_depths_are_points_and_others_are_named(header: LearngeneHeader) -> None:
    shown = preview(header, (*range(3, 9), 12), tleg.Budget(parameters=400_000))
    found = make_frontier(shown, "params")
    assert [(point.name, point.top1, point.kind, point.fits, point.chosen) for point in found.points] == [
        ("4", 80, "trained", True, False),
        ("6", 81, "expanded", True, False),
        ("8", 82, "expanded", False, False),
        ("12", 83, "trained", False, False),
    ]
    assert [point.cost for point in found.points] == [header.cost_at(depth).parameters for depth in (4, 6, 8, 12)]
    assert (found.limit, found.shown_limit, found.label) == (400_000, 400_000, "parameters")
    # The deepest that fits has no accuracy, and still is told where it lies.
    assert found.chosen == header.cost_at(7).parameters
    assert found.remarks == ("without an accuracy, so not shown: depth 3, 5, 7", "over the budget: depth 8, 12")


def test_every_cost_is_an_axis(header: LearngeneHeader) -> None:
    point = LatencyPoint(4, 100, 0.004, 0.004, 0.004, 0.004, 0.0)
    device = DeviceProfile(
        device=Device("a board", "Linux", 4),
        runtime=Runtime("onnxruntime", "1.26", "cpu"),
        threads=1,
        batch=8,
        export="onnx",
        dtype="float32",
        image_size=OWN,
        learngene=header.sha256,
        date="2026-11-28",
        points=(point,),
        line=LatencyLine(0.001, 0.0005),
        check=None,
    )
    shown = preview(header, (4, 8), tleg.Budget(latency=0.0045), 8, device)
    cost = header.cost_at(8, 8)
    found = {name: make_frontier(shown, name) for name in AXES}
    assert {name: each.points[1].cost for name, each in found.items()} == {
        "params": cost.parameters,
        "macs": cost.macs,
        "size": cost.size,
        "memory": cost.inference_memory,
        "latency": 0.005,
    }
    assert found["latency"].label == "latency, batch 8"
    assert [point.fits for point in found["params"].points] == [True, False]
    assert found["latency"].shown_limit == 0.0045
    assert found["latency"].ticks(2) == [(0.004, "4 ms"), (0.005, "5 ms")]
    assert make_frontier(preview(header, (4, 8)), "latency").remarks == (
        "without a known latency, so not shown: depth 4, 8",
    )


def test_the_axis_of_accuracy_does_not_reach_down_to_outliers(header: LearngeneHeader) -> None:
    reached = Reached(
        "fashion-mnist validation", 10_000, {1: 19.13, 2: 83.16, 3: 87.94, 4: 88.0, 5: 88.3, 6: 88.25, 7: 88.2}
    )
    found = make_frontier(preview(replace(header, reached=reached), range(1, 8)), "macs")
    assert [point.name for point in found.below] == ["1"]
    assert found.remarks == ("below the picture: depth 1 (19.1 %)",)
    low, high = found.accuracies
    assert 82 < low < 83.16
    assert 88.3 < high < 90
    even = Reached("fashion-mnist validation", 10_000, {1: 60.0, 2: 70.0, 3: 76.0, 4: 78.0, 5: 79.0})
    assert make_frontier(preview(replace(header, reached=even), range(1, 6)), "macs").below == ()


def test_one_point_has_axes_around_it() -> None:
    for cost in (0.0, 5.0):
        alone = FrontierPoint("4", OWN, cost, 80.0, "trained", "", True, True)
        found = Frontier(AXES["latency"], "latency", (alone,), None, cost, "", "", "")
        assert found.costs[0] < cost < found.costs[1]
        assert found.accuracies == (79.75, 80.25)
        assert any("◆" in line for line in text_of(plot_cells(found, 40, 10)))


def test_fine_tuned_descendants_stand_beside_them_by_data_set(header: LearngeneHeader) -> None:
    tuned = [TunedPoint("emoji", OWN, 8, 90.0), TunedPoint("emoji", OWN, 4, 85.0), TunedPoint("emoji", (32, 32), 4, 85.0)]
    found = make_frontier(preview(header, (4, 8)), "params", tuned=tuned)
    assert [(point.name, point.top1) for point in found.points if point.data == "emoji"] == [("4", 85), ("8", 90)]
    assert found.data_sets == ("emoji",)
    assert [text for _, text in legend(found)] == [
        "trained depth",
        "other depth",
        "fine-tuned on emoji",
    ]


def text_of(lines: list[list[Cell]]) -> list[str]:
    return ["".join(cell.text for cell in line).rstrip() for line in lines]


def test_a_picture_in_cells_has_marks_names_limit_and_axes(header: LearngeneHeader) -> None:
    found = make_frontier(preview(header, (4, 6, 8, 12), tleg.Budget(parameters=420_000)), "params")
    lines = plot_cells(found, 44, 12)
    assert {len(line) for line in lines} == {44}
    assert text_of(lines) == [
        "   │                          ┆",
        "   │                          ┆           12",
        " 83┤                          ┆        ···●",
        "   │                         8┆  ······",
        " 82┤                        ·◆┆··",
        "   │                   6 ···  ┆",
        " 81┤                  ·○·     ┆",
        "   │             4 ···        ┆",
        " 80┤             ●·           ┆",
        "   │                          ┆",
        "   └┬────────────────────────▴─────┬────────",
        "    0                            500 k",
    ]
    marks = {(cell.text, cell.role) for line in lines for cell in line if cell.text in "●○◆"}
    assert marks == {("●", "trained"), ("○", "expanded"), ("◆", "chosen"), ("●", "over")}
    assert [(text, role) for text, role in runs(lines[0]) if role == "limit"] == [("┆", "limit")]
    assert [(cell.text, text) for cell, text in legend(found, "--max-params 420k")] == [
        ("●", "trained depth"),
        ("○", "other depth"),
        ("◆", "chosen"),
        ("┆", "--max-params 420k"),
    ]


@pytest.mark.parametrize("size", [(28, 6), (60, 14), (160, 30)])
def test_pictures_of_any_size_keep_to_it_and_mark_every_end(size: tuple[int, int]) -> None:
    shown = preview(tleg.read_header("fashion-mnist"), range(1, 25), tleg.Budget(parameters=800_000))
    lines = plot_cells(make_frontier(shown, "params"), *size)
    assert (len(lines), {len(line) for line in lines}) == (size[1], {size[0]})
    text = "\n".join(text_of(lines))
    assert all(mark in text for mark in "◆▾┆▴")


def test_marks_do_not_hide_each_other_where_there_is_room_and_the_chosen_one_is_never_hidden(
    header: LearngeneHeader,
) -> None:
    crowded = [FrontierPoint(str(index), OWN, 100.0 + index, 80.0, "expanded", "", True, index == 3) for index in range(9)]
    found = Frontier(AXES["params"], "parameters", tuple(crowded), None, 103.0, "", "", "")
    lines = text_of(plot_cells(found, 28, 6))
    assert sum(line.count("◆") for line in lines) == 1
    assert any("3" in line for line in lines)


def test_the_svg_is_a_picture_with_every_mark_and_says_what_it_leaves_out(header: LearngeneHeader) -> None:
    shown = preview(header, (3, 4, 6, 8, 12), tleg.Budget(parameters=420_000))
    tuned = [TunedPoint(f"a data set of a very long name {index}", OWN, 8, 82.0) for index in range(3)]
    found = make_frontier(shown, "params", tuned=tuned)
    drawn = draw_frontier(found, "a <gene>", "on these images", "--max-params 420k")
    root = ElementTree.fromstring(drawn.svg())
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a <gene>: accuracy over parameters", "--max-params 420k", "4", "6", "8", "12", "200 k", "82"} <= set(words)
    assert "on these images; without an accuracy, so not shown: depth 3; over the budget: depth 12" in words
    assert {"trained depth", "other depth", "chosen", "over the budget"} <= set(words)
    assert float(root.attrib["viewBox"].split()[3]) > 430  # What marks mean takes several lines.
    xs = [float(each.attrib["x"]) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert all(0 <= x <= 760 for x in xs)
