"""`tleg learn --profiles all`: every stage is scaled with the depth that is drawn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.training.conftest import learn_job
from tleg.data.datasets import Data
from tleg.errors import ArchitectureError, InputError
from tleg.learngene.basis import Basis
from tleg.learngene.preview import preview
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.recipes.distillation import Depths
from tleg.recipes.io import from_values
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.training import Recipe
from tleg.study.compute import learngene_macs
from tleg.training.device import Placement
from tleg.training.learn import evaluate_learngene, learn
from tleg.training.students import AuxiliaryStudent

NAME = "convnext_atto"
ARGUMENTS: dict[str, Any] = {"dims": [8, 8, 8, 8], "depths": [2, 2, 4, 2], "patch_size": 1, "img_size": 16}


def test_what_is_drawn_is_trained_evaluated_and_shown(
    digits: Data, placement: Placement, recipe: Callable[..., Recipe]
) -> None:
    job = learn_job(
        digits, NAME, ARGUMENTS, depths=Depths(4, (2, 4, 6)), recipe=recipe(epochs=1), profiles="all", evaluate_depths="2-6"
    )
    learngene = evaluate_learngene(learn(job, placement), digits, placement, (2, 4, 6))
    header = learngene.header
    assert header.auxiliary.scaled is True
    assert header.version == 2
    assert header.reached is not None
    assert set(header.reached.by_depth) == {4, (1, 1, 2, 1), (3, 3, 6, 3)}
    rows = preview(header, [*map(header.scaled, (2, 4, 6)), 2]).rows
    assert {row.depth: row.trained for row in rows} == {4: True, 2: False, (1, 1, 2, 1): True, (3, 3, 6, 3): True}
    # What a step costs, as a study counts it before and after.
    before = learngene_macs(job.recipe, digits)[0]
    for depth, profile in ((2, (1, 1, 2, 1)), (4, (2, 2, 4, 2)), (6, (3, 3, 6, 3))):
        assert header.training_macs_at(depth) == before(depth) == header.cost_at(profile).macs


def test_a_step_computes_the_scaled_profile() -> None:
    architecture = describe(NAME, {**ARGUMENTS, "in_chans": 1}, 10)
    model = AuxiliaryModel(architecture, Basis()).eval()
    student = AuxiliaryStudent(model, Depths(4, (2, 4)), 0, 8, profile_of=lambda depth: architecture.scaled(depth, 4)).eval()
    images = torch.randn(2, 1, 16, 16)
    for depth, profile in ((2, (1, 1, 2, 1)), (4, (2, 2, 4, 2))):
        expected = model(images, model.coefficients(profile), profile)
        assert torch.equal(student(images, depth).logits, expected)


def test_sizes_are_drawn_with_profiles(digits: Data, placement: Placement, recipe: Callable[..., Recipe]) -> None:
    depths = Depths(4, (2, 4))
    given = {name: value for name, value in ARGUMENTS.items() if name != "img_size"}
    job = learn_job(
        digits, NAME, given, depths=depths, recipe=recipe(epochs=1), profiles="all", sample_sizes="8,16", evaluate_depths="2"
    )
    learngene = evaluate_learngene(learn(job, placement), digits, placement, (2, 4))
    header = learngene.header
    assert header.reached is not None
    assert set(header.reached.by_depth) == {4, (1, 1, 2, 1)}
    assert [set(each.by_depth) for each in header.further] == [{4, (1, 1, 2, 1)}]
    small = learngene.at_image_size((8, 8)).header
    before = learngene_macs(job.recipe, digits, job.recipe.sizes)
    for depth, profile in ((2, (1, 1, 2, 1)), (4, (2, 2, 4, 2))):
        mean = (header.cost_at(profile).macs + small.cost_at(profile).macs) / 2
        assert header.training_macs_at(depth) == mean == sum(macs_at(depth) for macs_at in before) / 2
    # At one of its sizes it still knows both.
    assert small.training_macs_at(2) == header.training_macs_at(2)
    assert preview([header, small], [(1, 1, 2, 1)]).rows[1].trained


def test_what_makes_no_sense_is_refused(digits: Data, placement: Placement) -> None:
    values = {"architecture": NAME, "data": "digits", "profiles": "all"}
    with pytest.raises(InputError, match="unknown profiles 'every'"):
        from_values("learn", {**values, "profiles": "every"})
    with pytest.raises(InputError, match="'4,2-2-6-2' has a profile of stages; --profiles all gives every stage") as caught:
        from_values("learn", {**values, "sample-depths": "4,2-2-6-2"})
    assert caught.value.field == "sample-depths"
    recipe = from_values("learn", values)
    assert isinstance(recipe, LearnRecipe)
    assert recipe.scales_all
    with pytest.raises(ArchitectureError, match="'vit_tiny_patch16_224' has one stage; leave --profiles out"):
        learn(learn_job(digits, profiles="all", depths=Depths(2, (1, 2))), placement)
