"""What is said of the curves of a training: a spike, a wait for images, a model that knows one class alone."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import ARGUMENTS, VIT, Recorder, learn_job
from tleg.data.datasets import Data
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Keeping
from tleg.runs.scalars import StepReport
from tleg.training.accuracy import Score
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.learn import learn_to_file
from tleg.training.watch import CurveWatch


def report(step: int, loss: float, wait: float = 0.0, epoch: int = 1) -> StepReport:
    return StepReport(step=step, steps=1000, epoch=epoch, epochs=10, loss=loss, data_wait=wait)


def test_a_spike_is_noticed_once_an_epoch() -> None:
    watch = CurveWatch()
    quiet = [found for step in range(60) for found in watch.look(report(step, 2 + 0.05 * math.sin(step)))]
    assert quiet == []
    ((code, text),) = watch.look(report(61, 9.0))
    assert code == "spike"
    assert "the loss jumped to 9 from about 2" in text
    for step in range(62, 100):
        watch.look(report(step, 2.0))
    assert watch.look(report(101, 9.0)) == []
    for step in range(102, 160):
        watch.look(report(step, 2.0, epoch=2))
    assert [code for code, _ in watch.look(report(161, 9.0, epoch=2))] == ["spike"]


def test_waiting_for_images_is_noticed() -> None:
    watch = CurveWatch()
    found = [each for step in range(40) for each in watch.look(report(step, 2.0, wait=0.8))]
    assert found == [("starved", "the model waits for images 80 % of the time; try more --workers")]
    assert [each for step in range(40) for each in CurveWatch().look(report(step, 2.0, wait=0.8 if step % 5 else 0.0))] == []


def score(*per_class: float | None) -> Score:
    known = [value for value in per_class if value is not None]
    return Score(100, sum(known) / max(len(known), 1), None, 1.0, per_class=per_class)


CLASSES = ("ankle\x1b boot", "bag", "coat")


def test_a_model_that_knows_one_class_alone_is_noticed_once() -> None:
    watch, stuck = CurveWatch(), score(0.0, 100.0, None)
    assert watch.scored(40, 100, {3: stuck}, CLASSES) == []  # Early it may still come.
    ((code, text),) = watch.scored(50, 100, {3: stuck, 6: score(100.0, 0.0, 0.0), 9: score(90.0, 0.0, 1.0)}, CLASSES)
    assert code == "one-class"
    assert text.startswith("after 50 of 100 steps the model at depth 3, 6 has all images of one class right (bag, ankle")
    assert text.endswith("try a lower --lr or a longer warm-up")
    assert "\x1b" not in text
    assert watch.scored(60, 100, {3: stuck}, CLASSES) == []
    ((_, text),) = CurveWatch().scored(100, 100, {None: stuck}, CLASSES)
    assert text.startswith("after 100 of 100 steps the model has all images")


@pytest.mark.parametrize("per_class", [(), (100.0,), (100.0, None, None), (99.0, 0.0), (100.0, 1.0), (0.0, 0.0)])
def test_other_accuracies_say_nothing(per_class: tuple[float | None, ...]) -> None:
    assert CurveWatch().scored(100, 100, {3: score(*per_class)}, CLASSES) == []


def test_a_training_whose_rate_is_too_high_says_so(digits: Data, placement: Placement, recipe: Any, tmp_path: Path) -> None:
    recorder = Recorder()
    hot, keeping = recipe(learning_rate=0.3, warmup_epochs=0.0), Keeping(keep_last=5)
    job = learn_job(digits, VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=hot, keeping=keeping)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keeping)
    learn_to_file(job, placement, tmp_path / "g.safetensors", observer=recorder, checkpoints=checkpoints)
    (_, _, last) = recorder.evaluations[-1]
    (warning,) = [text for code, text in recorder.warnings if code == "one-class"]
    assert "at depth 2, 3 has all images of one class right" in warning
    assert last[2].top1 is not None
    assert last[2].top1 < 15  # One class of ten.
