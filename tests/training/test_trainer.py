"""Parts of a step, whichever way it is divided, make the same step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import ARGUMENTS, VIT, Recorder
from tleg.data.datasets import Data
from tleg.data.fashion_mnist import ArrayImages
from tleg.errors import InputError
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Augmentation, Recipe
from tleg.training.device import Placement
from tleg.training.learn import LearnJob, learn
from tleg.training.students import depths_of_step

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def job(digits: Data, recipe: MakeRecipe) -> Callable[..., LearnJob]:
    """A job of 10 steps on 320 images: job(depths=Depths(2), accumulate=4)."""
    train = ArrayImages(digits.train.images[:320], digits.train.labels[:320])  # type: ignore[attr-defined]

    def make(depths: Depths | None = None, **options: Any) -> LearnJob:
        chosen = recipe(**{"batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, **options})
        return LearnJob(replace(digits, train=train), VIT, ARGUMENTS, depths=depths or Depths(3), recipe=chosen)

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
    from tleg.recipes.training import Keeping

    recorder = Recorder()
    chosen = recipe(epochs=8, batch_size=32, learning_rate=3e-3)
    depths = Depths(4, (2, 3, 4), "sandwich")
    keeping = Keeping(evaluate_every=8)
    learn(LearnJob(digits, VIT, ARGUMENTS, depths=depths, recipe=chosen, keeping=keeping), placement, observer=recorder)
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
