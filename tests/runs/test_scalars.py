"""Every step scalar reaches everybody who shows it, from the table alone: one that a test adds does as well."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.training.conftest import ARGUMENTS, PLAIN, VIT, first_images, learn_job, load_digits_data
from tleg.cli.live_view import render_run
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Recipe
from tleg.runs.events import EventReader, EventWriter
from tleg.runs.follower import RunFollower
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.reports import REPORTS
from tleg.runs.run import RunFolder
from tleg.runs.scalars import SCALARS, StepReport, live_figures, scalar, scalars_of
from tleg.runs.state import RunState
from tleg.runs.text import format_step
from tleg.runs.trackers import open_tracker, tracked
from tleg.training.device import choose_placement
from tleg.training.learn import learn
from tleg.training.observer import RunObserver
from tleg.training.process import StopSignals

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class LongerReport(StepReport):
    """A report with a scalar more: nothing else knows of it."""

    sharpness: float | None = scalar(
        "sharpness",
        "the greatest eigenvalue of the Hessian",
        fold="mean",
        line="sharpness {:.1f}",
        live="sharpness {:.2f}",
        brief="sharpness",
    )


@pytest.fixture(params=[StepReport, LongerReport], ids=["the table", "with one more"])
def report_class(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[StepReport]:
    """The class of reports, as it is and with a scalar more in the table."""
    kind: type[StepReport] = request.param
    monkeypatch.setitem(REPORTS, "step", kind)
    for name, each in scalars_of(kind).items():
        monkeypatch.setitem(SCALARS, name, each)
    return kind


@pytest.fixture
def told(run: RunFolder, report_class: type[StepReport]) -> dict[str, float]:
    """What a run's trainer told of its last step, by name; each value of a form that belongs to its scalar."""
    values: dict[str, Any] = {name: 1.5 + place for place, name in enumerate(SCALARS)}
    values |= {"data_wait": 0.75, "depth": 8, "learning_rate": 5e-4}
    with EventWriter(run) as writer:
        observer = RunObserver(run, writer, StopSignals(), world_size=1, batch_size=4)
        observer.started(0, 3, 1)
        for step in (1, 2, 3):
            observer.stepped(report_class(step=step, steps=3, epoch=1, epochs=1, **values))
    return values


def test_every_scalar_is_an_event_and_read_again(run: RunFolder, told: dict[str, float]) -> None:
    *_, last = EventReader(run).read()
    assert {name: last.payload[name] for name in SCALARS} == told
    report = last.read()
    assert {name: getattr(report, name) for name in SCALARS} == told


def test_every_scalar_that_has_one_is_a_curve(run: RunFolder, told: dict[str, float]) -> None:
    curve = RunFollower(run).look().snapshot.curve
    drawn = {name for name, each in SCALARS.items() if each.fold is not None}
    assert [set(point.values) for point in curve.points] == [drawn] * 3
    assert {name: spread.mean for name, spread in curve.points[-1].values.items()} == {name: told[name] for name in drawn}


def test_points_are_folded_as_the_table_says(
    run: RunFolder, told: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tleg.runs.history.MOST_POINTS", 1)
    with EventWriter(run) as writer:
        writer.write("step", {"step": 4, **{name: value + 1 for name, value in told.items()}})
    (point,) = fold(RunSnapshot(), EventReader(run).read()).curve.points
    for name, spread in point.values.items():
        wanted = (1, told[name] + 1) if SCALARS[name].fold == "last" else (4, told[name] + 0.25)
        assert (spread.count, spread.mean) == pytest.approx(wanted), name


class Shown:
    """Stands in for wandb, and remembers what it was sent."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def log(self, values: dict[str, float], step: int) -> None:
        self.values |= values

    def finish(self) -> None:
        pass


def test_every_scalar_is_tracked_unless_the_table_says_otherwise(
    run: RunFolder, told: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, module = Shown(), ModuleType("wandb")
    monkeypatch.setattr(module, "init", lambda **_: shown, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    tracker = open_tracker("wandb", run)
    for step, values in tracked(EventReader(run).read()):
        tracker.scalars(step, values)
    assert shown.values == {name: value for name, value in told.items() if SCALARS[name].tracked}


def test_every_scalar_is_in_the_views_that_the_table_names(run: RunFolder, told: dict[str, float]) -> None:
    look = RunFollower(run).look()
    live = "\n".join(str(each) for each in render_run(run.id, look.snapshot, look.state))
    assert look.snapshot.step is not None
    line = format_step(look.snapshot.step)
    for name, each in SCALARS.items():
        value = each.shown(told[name])
        assert not each.live or each.live.format(value) in live.replace("\n", "  ").split("  "), name
        assert not each.line or each.line.format(value) in line.split(", "), name


def test_the_views_say_what_they_said(run: RunFolder) -> None:
    report = StepReport(
        step=3, steps=9, epoch=1, epochs=3, loss=2.34567, task_loss=1.0, distillation_loss=1.25, learning_rate=5e-4,
        gradient_norm=1.23456, images_per_second=1234.5, data_wait=0.25, depth=12, scale=1024.0,
    )  # fmt: skip
    assert "  ".join(live_figures(report)) == (
        "loss 2.346  teacher 1.25  rate 5.00e-04  gradient 1.235  1234 images/s  waits 25 %"
    )
    assert format_step(report) == ("epoch 1/3, step 3/9, loss 2.3457, learning rate 5.00e-04, gradient 1.23, 1234 images/s")
    assert live_figures(StepReport(step=3, data_wait=0.2)) == ["loss -", "gradient -"]
    assert format_step(StepReport(step=3, steps=9, epoch=1, epochs=3)) == "epoch 1/3, step 3/9"


@pytest.mark.parametrize("name", SCALARS)
def test_a_scalar_is_described_for_people(name: str) -> None:
    each = SCALARS[name]
    assert each.label
    assert f"| {name} | {each.about} |" in (ROOT / "docs" / "runs.md").read_text("utf-8")
    for text in (each.line, each.live):
        assert not text or text.format(1.0) != text
    assert each.missing == "" or each.live, "what is said without a value belongs to what is said with one"


def test_a_viewer_of_another_version_leaves_out_what_it_does_not_know(run: RunFolder) -> None:
    with EventWriter(run) as writer:
        writer.write("step", {"step": 1, "steps": 3, "loss": 2.0, "sharpness": 7.0})
        writer.write("step", {"step": 2})
    snapshot = RunFollower(run).look().snapshot
    assert [set(point.values) for point in snapshot.curve.points] == [{"loss"}, set()]
    assert snapshot.step is not None
    assert (snapshot.step.step, snapshot.step.loss) == (2, None)
    assert list(render_run(run.id, snapshot, RunState(state="running")))


def test_the_trainer_measures_every_scalar(run: RunFolder) -> None:
    data = load_digits_data()
    data = replace(data, train=first_images(data.train, 64))
    recipe = Recipe(epochs=1, batch_size=32, workers=0, augmentation=PLAIN)
    job = learn_job(data, VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=recipe)
    with EventWriter(run) as writer:
        observer = RunObserver(run, writer, StopSignals(), world_size=1, batch_size=32)
        learn(job, choose_placement("cpu"), observer=observer)
    step = RunFollower(run).look().snapshot.step
    assert step is not None
    assert (step.step, step.steps) == (2, 2)
    # Without a teacher, and in float32.
    assert {name for name in SCALARS if getattr(step, name) is None} == {"distillation_loss", "scale"}
