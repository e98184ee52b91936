"""An auxiliary model that begins from a learngene or a model: what it is before the first step, what the header says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import ARGUMENTS, VIT, Recorder, first_images, learn_job
from tleg.data.datasets import Data
from tleg.errors import InputError
from tleg.learngene.basis import parse_basis
from tleg.models.learngene import Learngene
from tleg.models.timm_folder import save_timm_folder
from tleg.recipes.distillation import Depths
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.training import Keeping, Recipe
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.init import learn_arguments
from tleg.training.job import Job, LearnJob
from tleg.training.learn import learn, prepare
from tleg.training.observer import TrainingStoppedError
from tleg.training.start import open_start

MakeRecipe = Callable[..., Recipe]
SIZES: Mapping[str, Any] = {**ARGUMENTS, "in_chans": 1}


@pytest.fixture
def few(digits: Data) -> Data:
    """64 training images, 32 for validation."""
    return replace(digits, train=first_images(digits.train, 64), validation=first_images(digits.validation, 32))


@pytest.fixture
def gene(tiny_learngene: Any, tmp_path: Path) -> Path:
    """A learngene of the digits' classes, in another order."""
    path = tmp_path / "gene.safetensors"
    made: Learngene = tiny_learngene(VIT, SIZES, num_classes=10, classes=tuple("9876543210"), auxiliary_depth=4)
    made.save(path)
    return path


@pytest.fixture
def folder(gene: Path) -> Path:
    """The descendant of depth 5 as a folder that timm loads."""
    import tleg

    learngene, place = tleg.load(gene), gene.parent / "five"
    place.mkdir()
    header = learngene.header
    tensors = learngene.expand_tensors(5)
    save_timm_folder(place, tensors, header.architecture, 5, preprocessing=header.preprocessing, classes=header.classes)
    return place


def still(data: Data, recipe: Recipe, start: Path, arguments: Mapping[str, Any] | None = None, **fields: Any) -> LearnJob:
    """A job whose steps change hardly anything, so that what it began with shows in its result."""
    fields = {"depths": Depths(4), **fields}
    frozen = replace(recipe, learning_rate=1e-12, warmup_epochs=0.0, weight_decay=0.0, epochs=1)
    return learn_job(data, VIT, arguments or SIZES, recipe=frozen, start=str(start), **fields)


def test_it_begins_with_the_layers_stem_and_head_of_the_learngene(
    few: Data, placement: Placement, recipe: MakeRecipe, gene: Path
) -> None:
    import tleg

    before, after = tleg.load(gene), learn(still(few, recipe(), gene), placement)
    images = torch.randn(3, 1, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(after.expand(3)(images), before.expand(3)(images).flip(1), atol=1e-5)
    assert after.header.learned["start"] == {
        "learngene": "gene",
        "sha256": before.header.sha256,
        "layers": "start",
        "head": "kept",
    }
    # The stem knows pixels normalised so.
    assert after.header.preprocessing.mean == before.header.preprocessing.mean != few.mean


def test_another_basis_that_holds_its_own_makes_the_same_layers(
    few: Data, placement: Placement, recipe: MakeRecipe, gene: Path
) -> None:
    import tleg

    after = learn(still(few, recipe(), gene, basis="chebyshev:3"), placement)
    assert after.header.basis == parse_basis("chebyshev:3")
    images = torch.randn(3, 1, 8, 8)
    with torch.inference_mode():
        expected = tleg.load(gene).expand(6)(images).flip(1)
        assert torch.allclose(after.expand(6)(images), expected, atol=1e-4)
    with pytest.raises(InputError, match="linear basis cannot be written exactly in the piecewise") as caught:
        learn(still(few, recipe(), gene, basis="piecewise:2"), placement)
    assert caught.value.fields == ("start", "basis")


def test_a_model_gives_its_stem_norms_and_head_and_the_fit_of_its_layers(
    few: Data, placement: Placement, recipe: MakeRecipe, gene: Path, folder: Path
) -> None:
    import tleg

    after = learn(still(few, recipe(), folder, basis="linear"), placement)
    # The layers of a descendant lie on its learngene's line.
    for name, values in tleg.load(gene).tensors.items():
        expected = values[::-1] if name.startswith("head.") else values
        assert after.tensors[name] == pytest.approx(expected, abs=1e-4), name
    assert after.header.learned["start"]["model"] == "five"
    assert len(after.header.learned["start"]["sha256"]) == 64
    # Where nobody says a basis, it is that of a training without a start.
    thirds = learn(still(few, recipe(), folder), placement)
    fitted = tleg.fit(folder, basis="piecewise:3").learngene
    assert thirds.header.basis == fitted.header.basis
    name = "blocks.attn.qkv.weight"
    assert thirds.tensors[name] == pytest.approx(fitted.tensors[name], abs=1e-4)


@pytest.mark.parametrize("basis", ["chebyshev:3", "piecewise:2"])
def test_where_nobody_says_a_basis_it_is_that_of_the_learngene_whose_layers_are_the_start(
    few: Data, placement: Placement, recipe: MakeRecipe, tiny_learngene: Any, tmp_path: Path, basis: str
) -> None:
    path = tmp_path / "other.safetensors"
    tiny_learngene(VIT, SIZES, num_classes=10, basis=parse_basis(basis), auxiliary_depth=4).save(path)
    assert prepare(still(few, recipe(), path), placement).header.basis == parse_basis(basis)
    anew = prepare(still(few, recipe(), path, start_layers="initial"), placement)
    assert anew.header.basis == parse_basis("piecewise:3")


def test_initial_layers_are_those_that_the_recipe_draws(
    few: Data, placement: Placement, recipe: MakeRecipe, folder: Path
) -> None:
    import tleg

    drawn = learn(replace_start(still(few, recipe(), folder)), placement)
    after = learn(still(few, recipe(), folder, start_layers="initial"), placement)
    assert after.tensors["blocks.attn.qkv.weight"] == pytest.approx(drawn.tensors["blocks.attn.qkv.weight"], abs=1e-6)
    assert after.tensors["pos_embed"] == pytest.approx(tleg.fit(folder).learngene.tensors["pos_embed"], abs=1e-6)
    assert after.header.learned["start"]["layers"] == "initial"


def replace_start(job: LearnJob) -> LearnJob:
    """The same job without a start."""
    return Job(replace(job.recipe, start=None), job.data)


def test_what_nobody_says_is_as_in_the_start(few: Data, gene: Path) -> None:
    recipe = LearnRecipe(architecture=VIT, data="digits", start=str(gene), model_arguments={"mlp_ratio": 4})
    start = open_start(recipe)
    found = learn_arguments(recipe, replace(few, image_size=None, channels=3), start)
    assert (found["patch_size"], found["embed_dim"], found["in_chans"], found["img_size"]) == (2, 32, 1, 8)
    # The data's own size goes before that of the start.
    assert learn_arguments(recipe, replace(few, image_size=(12, 12)), start)["img_size"] == 12
    assert learn_arguments(replace(recipe, model_arguments={"class_token": True}), few, start)["class_token"] is True
    other = replace(recipe, architecture="deit_tiny_patch16_224", model_arguments={})
    # Of another model the name says the sizes, those of the images too.
    named = learn_arguments(other, replace(few, image_size=None), start)
    assert {"embed_dim", "img_size"}.isdisjoint(named)
    assert named["in_chans"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({**SIZES, "embed_dim": 48}, "a width of 32 and 2 heads, and 'vit_tiny_patch16_224' has a width of 48 and 2 heads"),
        ({**SIZES, "num_heads": 4}, "a width of 32 and 2 heads, and 'vit_tiny_patch16_224' has a width of 32 and 4 heads"),
        ({**SIZES, "in_chans": 3}, "patch_embed.proj.weight"),
    ],
)
def test_other_widths_and_heads_are_refused_before_anything_is_trained(
    few: Data, placement: Placement, recipe: MakeRecipe, gene: Path, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        prepare(still(few, recipe(), gene, arguments), placement)
    assert caught.value.fields == ("start", "architecture")


def test_initial_layers_need_a_start() -> None:
    with pytest.raises(InputError, match="--start-layers belongs to --start") as caught:
        LearnRecipe(architecture=VIT, data="digits", start_layers="initial")
    assert caught.value.fields == ("start-layers", "start")


def test_a_rate_that_nobody_gives_is_lower_for_layers_that_were_trained(
    few: Data, placement: Placement, recipe: MakeRecipe, gene: Path
) -> None:
    unsaid = recipe(learning_rate=None, batch_size=32)
    began = prepare(learn_job(few, VIT, SIZES, depths=Depths(3), recipe=unsaid), placement)
    assert began.job.recipe.recipe.peak_rate == began.header.learned["recipe"]["learning_rate"] == 3e-3
    further = learn_job(few, VIT, SIZES, depths=Depths(3), recipe=unsaid, start=str(gene))
    assert prepare(further, placement).header.learned["recipe"]["learning_rate"] == 5e-4 * 32 / 512
    anew = learn_job(few, VIT, SIZES, depths=Depths(3), recipe=unsaid, start=str(gene), start_layers="initial")
    assert prepare(anew, placement).header.learned["recipe"]["learning_rate"] == 3e-3


def test_resuming_does_not_load_the_start_again(
    few: Data, placement: Placement, recipe: MakeRecipe, gene: Path, tmp_path: Path
) -> None:
    keeping = Keeping(evaluate_every=0, checkpoint_steps=1)
    job = learn_job(few, VIT, SIZES, depths=Depths(3), keeping=keeping, start=str(gene), recipe=recipe(batch_size=32))
    whole = learn(job, placement)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keeping)
    with pytest.raises(TrainingStoppedError):
        learn(job, placement, observer=Recorder(stop_after=2), checkpoints=checkpoints)
    assert learn(job, placement, checkpoints=checkpoints).hash() == whole.hash()
    # Once it is trained, what it began from is no part of it: other weights there change nothing.
    import tleg

    changed = tleg.load(gene)
    Learngene(changed.header, {name: 0 * values for name, values in changed.tensors.items()}).save(gene, overwrite=True)
    assert learn(job, placement, checkpoints=checkpoints).hash() == whole.hash()
    assert learn(job, placement).hash() != whole.hash()
