"""The loop: parts of a step, whichever way it is divided, make the same step; when it evaluates, saves and warns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.conftest import ARGUMENTS, VIT, Recorder, first_images, learn_job
from tleg.data.datasets import Data
from tleg.errors import InputError
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Augmentation, Keeping, Recipe
from tleg.training.device import Placement
from tleg.training.job import LearnJob
from tleg.training.learn import learn
from tleg.training.students import depths_of_step
from tleg.training.trainer import Intervals, batch_norm_warning

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def job(digits: Data, recipe: MakeRecipe) -> Callable[..., LearnJob]:
    """A job of 10 steps on 320 images: job(depths=Depths(2), accumulate=4)."""
    train = first_images(digits.train, 320)

    def make(depths: Depths | None = None, **options: Any) -> LearnJob:
        chosen = recipe(**{"batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, **options})
        return learn_job(replace(digits, train=train), VIT, ARGUMENTS, depths=depths or Depths(3), recipe=chosen)

    return make


def largest_difference(first: Learngene, second: Learngene) -> float:
    return max(float(np.abs(value - second.tensors[name]).max()) for name, value in first.tensors.items())


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.8, "cutmix": 1.0}, {"cutmix": 1.0}])
def test_accumulated_parts_make_the_step_of_the_whole_batch(
    job: Callable[..., LearnJob], placement: Placement, mixing: dict[str, float]
) -> None:
    # The official code throws away all parts but the last. SGD, because Adam hides the size of a gradient.
    whole, parts, other = (
        learn(job(**mixing, **options), placement) for options in ({}, {"accumulate": 4}, {"batch_size": 32})
    )
    assert largest_difference(whole, parts) < 2e-6
    assert largest_difference(whole, other) > 1e-3


def test_what_is_reported_does_not_depend_on_the_parts(job: Callable[..., LearnJob], placement: Placement) -> None:
    reports = []
    for accumulate in (1, 4):
        recorder = Recorder()
        learn(job(accumulate=accumulate, epochs=1), placement, observer=recorder)
        reports.append(recorder.reports[-1])
    first, second = reports
    assert first.step == second.step == 5
    assert first.loss == pytest.approx(second.loss, rel=1e-5)
    assert first.gradient_norm == pytest.approx(second.gradient_norm, rel=1e-4)
    assert first.learning_rate == second.learning_rate


def test_gradient_checkpointing_changes_no_bit(job: Callable[..., LearnJob], placement: Placement) -> None:
    depths = Depths(4, (2, 4))
    plain, twice = (learn(job(depths, gradient_checkpointing=value), placement) for value in (False, True))
    assert plain.hash() == twice.hash()


def test_a_sandwich_trains_the_deepest_the_shallowest_and_one_between() -> None:
    depths = Depths(12, (4, 6, 8, 12), "sandwich")
    drawn = [depths_of_step(depths, 3, step) for step in range(2000)]
    assert {pair[:2] for pair in drawn} == {(12, 4)}
    middle = [third for _, _, third in drawn]
    assert all(900 < middle.count(depth) < 1100 for depth in (6, 8))
    assert depths_of_step(Depths(3, (1, 3), "sandwich"), 0, 5) == (3, 1)


def test_a_sandwich_lowers_the_loss_at_every_depth(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    recorder = Recorder()
    chosen = recipe(epochs=8, batch_size=32, learning_rate=3e-3)
    depths = Depths(4, (2, 3, 4), "sandwich")
    keeping = Keeping(evaluate_every=8)
    learn(learn_job(digits, VIT, ARGUMENTS, depths=depths, recipe=chosen, keeping=keeping), placement, observer=recorder)
    ((_, _, scores),) = recorder.evaluations
    assert set(scores) == {2, 4}
    assert min(score.top1 for score in scores.values()) > 25
    assert recorder.reports[-1].depth == 4


def test_cutmix_alone_learns_from_mixed_labels(job: Callable[..., LearnJob], placement: Placement) -> None:
    # The official code asks only whether mixup is on, and gives mixed labels to a loss for plain ones.
    recorder = Recorder()
    learn(job(cutmix=1.0, label_smoothing=0.0, augmentation=Augmentation(auto_augment=None)), placement, observer=recorder)
    assert all(report.loss is not None and np.isfinite(report.loss) for report in recorder.reports)


def test_an_odd_batch_cannot_be_mixed(recipe: MakeRecipe) -> None:
    with pytest.raises(InputError, match="the batch size must be even, not 63"):
        recipe(batch_size=63, cutmix=1.0)


def test_an_auxiliary_step_is_the_step_of_its_descendant(
    digits: Data, placement: Placement, tiny_learngene: Any, tmp_path: Path
) -> None:
    # Weight decay aside: the loss of the auxiliary at a depth is the loss of the descendant of that depth.
    from tleg.models.auxiliary import AuxiliaryModel

    learngene = tiny_learngene(arguments={"img_size": 8, "patch_size": 4, "in_chans": 1}, num_classes=10)
    model = AuxiliaryModel.from_learngene(learngene)
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for depth in (1, 5, 12):
        assert torch.equal(model.eval()(images, model.coefficients(depth)), learngene.expand(depth)(images))


def saved(last: int = 0, seconds: float = 0.0, **keeping: Any) -> list[int]:
    intervals = Intervals(Keeping(**keeping), 30, 5)
    return [step for step in range(1, 31) if intervals.saves(step, last, seconds)]


def evaluated(every: int) -> list[int]:
    intervals = Intervals(Keeping(evaluate_every=every), 30, 5)
    return [step for step in range(1, 31) if intervals.evaluates(step)]


def test_evaluations() -> None:
    assert evaluated(1) == [5, 10, 15, 20, 25, 30]
    assert evaluated(4) == [20, 30]
    assert evaluated(0) == []


@pytest.mark.parametrize("every", [0, 1, 3])
def test_checkpoints_that_are_kept_need_no_evaluation(every: int) -> None:
    assert saved(keep_every=2, evaluate_every=every) == [10, 20, 30]
    assert saved(keep_every=2, evaluate_every=every, checkpoint_steps=100) == [10, 20, 30]
    intervals = Intervals(Keeping(keep_every=2, evaluate_every=every), 30, 5)
    assert [step for step in range(1, 31) if intervals.keeps(step)] == [10, 20, 30]


def test_zero_minutes_are_the_ends_of_epochs() -> None:
    assert saved(checkpoint_minutes=0, evaluate_every=0) == [5, 10, 15, 20, 25, 30]
    # Steps are instead of minutes.
    assert saved(checkpoint_minutes=0, checkpoint_steps=28) == [28, 29, 30]


def test_minutes_and_steps() -> None:
    assert saved(checkpoint_minutes=2, seconds=119) == []
    assert saved(checkpoint_minutes=2, seconds=120) == list(range(1, 31))
    assert saved(checkpoint_steps=3, last=20, seconds=1e6) == list(range(23, 31))


@pytest.mark.parametrize(("size", "accumulate", "said"), [(1, 1, False), (2, 1, True), (1, 2, True)])
def test_batch_norm_sees_parts_of_a_step(size: int, accumulate: int, said: bool) -> None:
    for student, has in ((nn.Sequential(nn.BatchNorm2d(1)), True), (nn.Sequential(nn.LayerNorm(1)), False)):
        found = batch_norm_warning(student, 64, size * accumulate)
        assert (found is not None) == (said and has)
        if found:
            assert "each of 2 parts of a step, 32 images, not from the step's 64" in found
