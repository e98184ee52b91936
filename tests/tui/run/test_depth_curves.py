"""Accuracy by depth: a line an evaluation, the latest before older ones."""

from typing import Any

from tests.tui.conftest import drive
from tleg.runs.history import RunSnapshot
from tleg.runs.reports import DepthScore, EvaluationReport
from tleg_tui.run.charts import DEPTHS, View, make_plot
from tleg_tui.run.curve import Curve, Plot


def evaluation(step: int, scores: dict[int, float | None], weights: str = "model", **more: Any) -> EvaluationReport:
    figures = tuple(DepthScore(depth=depth, top1=top1, **more) for depth, top1 in scores.items())
    return EvaluationReport(step=step, epoch=step // 10, weights=weights, scores=figures)


def plot_of(*evaluations: EvaluationReport, other: RunSnapshot | None = None) -> Plot:
    return make_plot(DEPTHS, RunSnapshot(evaluations=evaluations), other, View())


def places(plot: Plot) -> list[list[tuple[float, float]]]:
    return [[(point.x, point.mean) for point in line.points if point is not None] for line in plot.lines]


def test_each_evaluation_is_a_line_over_depth_and_older_ones_are_faded() -> None:
    plot = plot_of(evaluation(10, {2: 40.0, 4: 50.0, 8: 52.0}), evaluation(20, {8: 60.0, 2: 48.0, 4: 61.0}))
    assert places(plot) == [[(2, 40), (4, 50), (8, 52)], [(2, 48), (4, 61), (8, 60)]]
    assert [line.faded for line in plot.lines] == [True, False]
    assert [(mark.x, mark.best) for mark in plot.lines[1].marks] == [(2, False), (4, True), (8, False)]
    assert (plot.first, plot.last, plot.unit, plot.value, plot.note) == (
        2,
        8,
        "layers",
        "61.0 % at depth 4",
        "epoch 2, older dim",
    )


def test_of_many_evaluations_a_few_are_drawn_and_of_two_weights_the_average() -> None:
    many = [evaluation(10 * index, {2: float(index), 4: float(index)}) for index in range(1, 51)]
    plot = plot_of(*many, evaluation(500, {2: 70.0, 4: 71.0}, "ema"))
    assert [line[0][1] for line in places(plot)] == [1, 7, 14, 21, 28, 35, 42, 49, 70]


def test_what_is_not_known_is_left_out() -> None:
    plot = plot_of(evaluation(10, {2: 40.0, 4: None}), EvaluationReport(step=20, scores=(DepthScore(top1=3.0),)))
    assert places(plot) == [[(2, 40)]]
    assert plot.last > plot.first
    assert (plot_of().lines, plot_of().empty) == ((), "no evaluation yet")
    cosine = make_plot(DEPTHS, RunSnapshot(evaluations=(evaluation(10, {2: None, 4: None}, cosine=0.5),)), None, View())
    assert (cosine.title, cosine.value, cosine.ceiling) == ("cosine by depth", "0.500 at depth 2", 1.0)


def test_another_run_adds_its_latest() -> None:
    other = RunSnapshot(evaluations=(evaluation(10, {2: 10.0}), evaluation(20, {2: 20.0, 6: 30.0})))
    plot = plot_of(evaluation(10, {2: 40.0, 4: 50.0}), other=other)
    assert places(plot) == [[(2, 40), (4, 50)], [(2, 20), (6, 30)]]
    assert [line.other for line in plot.lines] == [False, True]
    assert plot.last == 6


@drive
async def test_the_latest_is_drawn_over_the_older_ones() -> None:
    from textual.app import App

    class Shown(App[None]):
        def compose(self) -> Any:
            yield Curve()

    app = Shown()
    async with app.run_test(size=(60, 14)) as pilot:
        curve = app.query_one(Curve)
        curve.show(plot_of(evaluation(10, {2: 50.0, 4: 50.0}), evaluation(20, {2: 50.0, 4: 50.0})))
        await pilot.pause()
        own, faded = (curve.get_component_rich_style(f"curve--{name}") for name in ("own", "faded"))
        drawn = {
            segment.style
            for strip in curve.make_lines(60, 14)
            for segment in strip
            if "⣀" in segment.text or "⠤" in segment.text or "⠉" in segment.text or "⠒" in segment.text
        }
        assert own in drawn
        assert faded not in drawn
        last = curve.make_lines(60, 14)[-1].text
        assert last.split() == ["2", "3", "4", "layers"]
