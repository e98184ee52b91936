"""What the events amount to: the same however they are divided, and bounded however long the run is."""

import dataclasses
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measuring import processor_seconds
from tleg.runs.events import Event
from tleg.runs.history import MOST_MESSAGES, MOST_POINTS, Curve, CurveBuilder, CurvePoint, RunSnapshot, Spread, fold
from tleg.runs.reports import DeviceReport, DeviceSample, HostSample


def events(*pairs: tuple[str, Mapping[str, Any]]) -> list[Event]:
    return [Event(1, number, 100.0 + number, kind, payload) for number, (kind, payload) in enumerate(pairs)]


def step(number: int, loss: float | None = 1.0, **more: Any) -> tuple[str, Mapping[str, Any]]:
    return "step", {"step": number, "steps": 900, "epoch": 1, "epochs": 9, "loss": loss, **more}


def evaluation(number: int, *top1: float | None, weights: str = "model") -> tuple[str, Mapping[str, Any]]:
    scores = [
        {"depth": depth, "top1": value, "top5": 99.0, "loss": 0.5, "images": 10} for depth, value in enumerate(top1, 4)
    ]
    return "evaluation", {"step": number, "epoch": 1, "weights": weights, "scores": scores, "images_per_second": 7.0}


def started(number: int, **more: Any) -> tuple[str, Mapping[str, Any]]:
    return "started", {"step": number, "steps": 900, "epochs": 9, "restart": 0, "pid": 5, "host": "h", **more}


def checkpoint(number: int, best: bool = False) -> tuple[str, Mapping[str, Any]]:
    return "checkpoint", {"step": number, "name": f"step-{number}", "seconds": 0.5, "bytes": 10, "best": best}


def steps_of(curve: Curve) -> list[tuple[int, int]]:
    return [(point.first, point.last) for point in curve.points]


def test_a_run_from_start_to_finish() -> None:
    before = fold(
        RunSnapshot(), events(("stage", {"name": "data", "text": "opening data", "done": 2, "total": 5}), started(0))
    )
    assert before.start is not None
    assert (before.start.steps, before.start.epochs, before.start.pid, before.start.t) == (900, 9, 5, 101.0)
    assert (before.stage, before.step, before.finish, before.resumptions) == (None, None, None, ())
    snapshot = fold(
        before,
        events(
            step(1, 2.0, learning_rate=0.1),
            step(2, 1.0, learning_rate=0.2, depth=8, data_wait=0.25, scale=1024.0, images_per_second=50),
            ("device", {"devices": [{"index": 0}], "host": {"load": 1.0}}),
            evaluation(2, 50.0, 70.0),
            checkpoint(2, best=True),
            ("warning", {"code": "slow", "text": "slow data", "step": 2}),
            ("log", {"text": "hello"}),
            ("novelty", {"step": 77}),
            ("stage", {"name": "result", "text": "writing the result", "done": None, "total": None}),
        ),
    )
    assert snapshot.step is not None
    report = dataclasses.asdict(snapshot.step)
    assert {key: value for key, value in report.items() if value is not None} == {
        "t": 101.0, "step": 2, "steps": 900, "epoch": 1, "epochs": 9, "loss": 1.0, "learning_rate": 0.2, "depth": 8,
        "data_wait": 0.25, "scale": 1024.0, "images_per_second": 50.0,
    }  # fmt: skip
    assert snapshot.best == snapshot.evaluations[0]
    assert snapshot.best is not None
    assert snapshot.best.top1 == 60.0
    assert [(score.depth, score.top1, score.top5, score.loss, score.images) for score in snapshot.best.scores] == [
        (4, 50.0, 99.0, 0.5, 10), (5, 70.0, 99.0, 0.5, 10)
    ]  # fmt: skip
    assert [(each.name, each.step, each.seconds, each.bytes, each.best) for each in snapshot.checkpoints] == [
        ("step-2", 2, 0.5, 10, True)
    ]
    assert [(each.code, each.text, each.step, each.t) for each in snapshot.warnings] == [("slow", "slow data", 2, 105.0)]
    assert (snapshot.log, snapshot.warning_count, snapshot.events, snapshot.t) == (("hello",), 1, 11, 108.0)
    assert snapshot.device == DeviceReport(t=102.0, devices=(DeviceSample(index=0),), host=HostSample(load=1.0))
    assert snapshot.stage is not None
    assert (snapshot.stage.name, snapshot.stage.text, snapshot.stage.total) == ("result", "writing the result", None)
    end = fold(
        snapshot, events(("finished", {"state": "finished", "reason": "ok", "exit_code": 0, "step": 2, "result": "r"}))
    )
    assert end.finish is not None
    assert (end.finish.state, end.finish.reason, end.finish.exit_code, end.finish.result) == ("finished", "ok", 0, "r")
    assert end.stage is None


def test_stages_give_way_to_steps_and_come_back() -> None:
    stage = ("stage", {"name": "evaluation", "text": "evaluating", "done": 1, "total": 3})
    assert fold(RunSnapshot(), events(stage, step(1))).stage is None
    snapshot = fold(RunSnapshot(), events(step(1), stage))
    assert snapshot.stage is not None
    assert (snapshot.stage.done, snapshot.stage.total) == (1, 3)
    assert snapshot.step is not None


def test_the_best_is_of_the_weights_that_are_kept() -> None:
    # With an average that is what becomes the result, however good the model's own weights are.
    pairs = [
        (evaluation(2, 90.0), evaluation(2, 70.0, weights="ema")),
        (evaluation(4, 95.0), evaluation(4, 80.0, weights="ema")),
    ]
    both = fold(RunSnapshot(), events(*pairs[0], *pairs[1]))
    assert both.best is not None
    assert (both.best.step, both.best.weights, both.best.top1) == (4, "ema", 80.0)
    again = fold(both, events(started(2)))
    assert again.best is not None
    assert (again.best.step, again.best.top1) == (2, 70.0)


def test_going_on_forgets_what_comes_again() -> None:
    first = [
        started(0),
        step(1),
        step(2),
        evaluation(2, 90.0),
        checkpoint(2),
        step(3),
        step(4),
        evaluation(4, 95.0),
        checkpoint(4),
    ]
    again = started(2, restart=1, resumed_from="step-2")
    snapshot = fold(RunSnapshot(), events(*first, again))
    assert steps_of(snapshot.curve) == [(1, 1), (2, 2)]
    assert [each.step for each in snapshot.evaluations] == [2]
    assert [each.step for each in snapshot.checkpoints] == [2]
    assert snapshot.best is not None
    assert snapshot.best.top1 == 90.0
    assert snapshot.step is None
    assert [(each.step, each.restart, each.resumed_from) for each in snapshot.resumptions] == [(2, 1, "step-2")]
    twice = fold(snapshot, events(step(3, 7.0), step(4)))
    assert steps_of(twice.curve) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert twice.curve.points[2].values["loss"].mean == 7.0


@pytest.mark.parametrize("sign", [("stage", {"name": "data", "text": "opening data"}), started(2), step(3)])
def test_a_trainer_that_goes_on_is_not_finished(sign: tuple[str, Mapping[str, Any]]) -> None:
    stopped = ("finished", {"state": "stopped", "reason": "asked", "exit_code": 0, "step": 2, "result": None})
    ended = fold(RunSnapshot(), events(started(0), step(1), step(2), stopped))
    assert ended.finish is not None
    assert ended.finish.state == "stopped"
    assert fold(ended, events(("device", {}))).finish == ended.finish
    assert fold(ended, events(sign)).finish is None
    assert fold(RunSnapshot(), events(started(0), step(2), stopped, sign)).finish is None


def test_steps_that_go_back_without_a_word_replace_those_behind() -> None:
    snapshot = fold(RunSnapshot(), events(step(1), step(2), step(3, 9.0), step(2, 5.0)))
    assert steps_of(snapshot.curve) == [(1, 1), (2, 2)]
    assert snapshot.curve.points[-1].values["loss"].mean == 5.0


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([[50.0], [70.0], [60.0]], 1),
        ([[70.0], [70.0]], 1),
        ([[70.0, 60.0], [90.0, None]], 0),
        ([[40.0, 80.0], [65.0, 65.0]], 1),
        ([[None], [1.0]], 1),
        ([[], []], None),
    ],
)
def test_the_best_evaluation_has_the_highest_mean(scores: list[list[float | None]], best: int | None) -> None:
    snapshot = fold(RunSnapshot(), events(*(evaluation(number, *each) for number, each in enumerate(scores))))
    assert snapshot.best == (None if best is None else snapshot.evaluations[best])


def test_messages_are_bounded_and_counted() -> None:
    many = [("warning", {"code": "c", "text": str(number)}) for number in range(MOST_MESSAGES + 10)]
    lines = [("log", {"text": str(number)}) for number in range(MOST_MESSAGES + 10)]
    snapshot = fold(RunSnapshot(), events(*many, *lines))
    assert len(snapshot.warnings) == len(snapshot.log) == MOST_MESSAGES
    assert snapshot.warning_count == MOST_MESSAGES + 10
    assert snapshot.warnings[-1].text == snapshot.log[-1] == str(MOST_MESSAGES + 9)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**400) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
TYPES = ["started", "stage", "step", "evaluation", "checkpoint", "device", "warning", "log", "finished", "novelty"]
KEYS = ["step", "steps", "epoch", "loss", "scores", "text", "name", "state", "best", "restart", "bytes", "learning_rate"]


@given(st.lists(st.tuples(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=6)), max_size=8))
def test_no_payload_breaks_a_viewer(pairs: list[tuple[str, dict[str, Any]]]) -> None:
    assert fold(RunSnapshot(), events(*pairs)).events == len(pairs)


NUMBERS = st.none() | st.floats(-100, 100)
SOUND = st.one_of(
    st.builds(
        lambda number, loss, norm, rate: step(number, loss, gradient_norm=norm, images_per_second=rate, learning_rate=rate),
        st.integers(0, 40),
        NUMBERS,
        NUMBERS,
        NUMBERS,
    ),
    st.builds(started, st.integers(0, 40)),
    st.builds(evaluation, st.integers(0, 40), NUMBERS, NUMBERS),
    st.builds(checkpoint, st.integers(0, 40)),
    st.sampled_from([("stage", {"name": "a"}), ("log", {"text": "x"}), ("finished", {"state": "stopped"}), ("device", {})]),
)


@settings(max_examples=200)
@given(st.lists(SOUND, max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_any_division_of_the_events_gives_the_same_snapshot(
    pairs: list[tuple[str, Mapping[str, Any]]], cuts: list[int]
) -> None:
    whole = events(*pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tleg.runs.history.MOST_POINTS", 8)
        snapshot = RunSnapshot()
        bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        for start, end in pairwise(bounds):
            snapshot = fold(snapshot, whole[start:end])
        assert snapshot == fold(RunSnapshot(), whole)
        assert len(snapshot.curve.points) <= 8


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300, unique=True), st.data())
def test_points_keep_count_mean_and_extremes(numbers: list[int], data: st.DataObject) -> None:
    losses = data.draw(st.lists(st.floats(-1e6, 1e6), min_size=len(numbers), max_size=len(numbers)))
    reports = dict(zip(sorted(numbers), losses, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tleg.runs.history.MOST_POINTS", 16)
        builder = CurveBuilder(Curve())
        for number, loss in reports.items():
            builder.add(number, {"loss": loss, "images_per_second": -loss, "learning_rate": float(number)})
        curve = builder.finish()
    assert len(curve.points) <= 16
    assert curve.width == 1 or len(numbers) > 16
    covered = []
    for point in curve.points:
        inside = [loss for number, loss in reports.items() if point.first <= number <= point.last]
        covered += inside
        assert point.first // curve.width == point.last // curve.width
        assert set(point.values) == {"loss", "images_per_second", "learning_rate"}
        mean, speed, rate = (point.values[name] for name in ("loss", "images_per_second", "learning_rate"))
        assert (mean.count, mean.low, mean.high) == (len(inside), min(inside), max(inside))
        assert (speed.low, speed.high) == (-max(inside), -min(inside))
        assert mean.mean == pytest.approx(math.fsum(inside) / len(inside), abs=1e-6)
        assert rate == Spread(1, point.last, point.last, point.last)
    assert covered == losses


def test_a_report_without_numbers_keeps_its_place() -> None:
    builder = CurveBuilder(Curve())
    builder.add(1, {})
    assert builder.finish().points == (CurvePoint(1, 1),)


def test_a_cut_within_a_point() -> None:
    curve = Curve((CurvePoint(0, 3), CurvePoint(4, 7)), width=4)
    for cut, left in ((7, [(0, 3), (4, 7)]), (5, [(0, 3), (4, 5)]), (3, [(0, 3)]), (1, [(0, 1)]), (-1, [])):
        builder = CurveBuilder(curve)
        builder.cut(cut)
        assert steps_of(builder.finish()) == left


def test_a_long_run_is_cheap_and_small() -> None:
    payload = step(0, 2.5, gradient_norm=1.0, images_per_second=100.0, learning_rate=1e-3)[1]
    long = [Event(1, number, 1.0, "step", {**payload, "step": number}) for number in range(100_000)]
    snapshot = fold(RunSnapshot(), long)
    sorting, folding, nothing = processor_seconds(
        lambda: sum(len(sorted(event.payload)) for event in long),
        lambda: fold(RunSnapshot(), long),
        lambda: fold(snapshot, []),
        rounds=4,
    )
    assert folding < 25 * sorting
    assert nothing < folding / 20, "an update costs little, however long the run is"
    assert MOST_POINTS / 2 <= len(snapshot.curve.points) <= MOST_POINTS
    assert sum(point.values["loss"].count for point in snapshot.curve.points) == 100_000
