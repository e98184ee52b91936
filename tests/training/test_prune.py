"""`--init prune:KEEP`: which blocks stay is measured on training images, recorded, and the same every time."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.models.test_pruning import silenced
from tests.training.conftest import ARGUMENTS, VIT, finetune_job, first_images
from tleg.data.datasets import Data
from tleg.errors import InputError
from tleg.models.timm_folder import load_timm_folder
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.io import command_words, from_values, to_values
from tleg.recipes.training import Recipe
from tleg.study.compute import count_start
from tleg.study.file import make_study
from tleg.study.grid import list_tasks
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import initial_model_of


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    """64 training images, 32 for validation."""
    return replace(digits, train=first_images(digits.train, 64), validation=first_images(digits.validation, 32))


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    """A model of 5 blocks, of which numbers 1 and 3 do nothing, as a file of weights."""
    torch.manual_seed(0)
    arguments = {**ARGUMENTS, "in_chans": 1, "depth": 5}
    model = silenced(timm.create_model(VIT, num_classes=10, **arguments), 1, 3)
    save_file(model.state_dict(), tmp_path / "five.safetensors")
    return {"data": "digits", "checkpoint": f"{VIT}:{tmp_path / 'five.safetensors'}", "model-arg": arguments}


def recipe_of(values: dict[str, Any], **more: Any) -> FinetuneRecipe:
    recipe = from_values("finetune", {**values, **more})
    assert isinstance(recipe, FinetuneRecipe)
    return recipe


def test_the_blocks_that_do_nothing_go(few: Data, values: dict[str, Any]) -> None:
    whole, pruned = (initial_model_of(recipe_of(values, **more))(few) for more in ({}, {"init": "prune:3"}))
    assert pruned.depth == 3
    assert pruned.lineage["pruned"]["blocks"] == [[0, 2, 4]]
    assert pruned.lineage["pruned"]["of"] == "5"
    assert pruned.lineage["pruned"]["images"] == 64
    assert [value < 1e-5 for value in pruned.lineage["pruned"]["importance"][0]] == [False, True, False, True, False]
    assert pruned.lineage["init"] == "prune:3"
    assert pruned.notes[-1] == "kept the blocks 0, 2, 4 of 5"
    images = torch.randn(2, 1, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(pruned.model.eval()(images), whole.model.eval()(images), atol=1e-5)
    again = initial_model_of(recipe_of(values, init="prune:3"))(few)
    assert again.lineage == pruned.lineage


def test_it_is_trained_and_saved_as_a_model_of_that_depth(
    few: Data, values: dict[str, Any], placement: Placement, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    start = initial_model_of(recipe_of(values, init="prune:2"))
    finetune(finetune_job(few, start, recipe=recipe(epochs=1, batch_size=32)), placement, tmp_path / "out")
    model = load_timm_folder(tmp_path / "out")
    assert len(model.blocks) == 2
    assert timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).num_classes == 10
    lineage = json.loads((tmp_path / "out" / "training.json").read_text())["lineage"]
    assert len(lineage["pruned"]["blocks"][0]) == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"init": "prune"}, "cannot read the init 'prune': write prune:KEEP"),
        ({"init": "prune:"}, "cannot read the init 'prune:': write prune:KEEP"),
        ({"init": "share:3"}, "cannot read the init 'share:3': write share"),
        ({"init": "prune:x"}, "cannot read 'x' as a depth"),
        ({"init": "prune:0"}, "depth 0 is out of range"),
        ({"init": "share"}, "--init share belongs to --learngene"),
        ({"init": "prnue:3"}, "Did you mean 'prune'"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any], more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        recipe_of(values, **more)
    assert "init" in caught.value.fields


def test_a_learngene_and_random_weights_are_not_pruned(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--init prune:KEEP is made of a trained model: it belongs to --checkpoint"):
        recipe_of({"data": "digits", "learngene": "fashion-mnist", "depth": "4"}, init="prune:3")
    with pytest.raises(InputError, match="give --checkpoint, or --model with --pretrained"):
        recipe_of({"data": "digits", "model": VIT}, init="prune:3")
    assert recipe_of({"data": "digits", "model": VIT, "pretrained": True}, init="prune:3").init == "prune:3"


def test_more_blocks_than_there_are_and_models_without_equal_blocks_are_refused(
    few: Data, values: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has 5 blocks, of which 6 cannot be kept"):
        initial_model_of(recipe_of(values, init="prune:6"))(few)
    save_file(timm.create_model("resnet10t", num_classes=10).state_dict(), tmp_path / "net.safetensors")
    given = {"data": "digits", "checkpoint": f"resnet10t:{tmp_path / 'net.safetensors'}"}
    with pytest.raises(InputError, match="has no stages as those"):
        initial_model_of(recipe_of(given, init="prune:2"))(few)


def test_a_recipe_keeps_it(values: dict[str, Any]) -> None:
    recipe = recipe_of(values, init="prune:3")
    assert from_values("finetune", to_values(recipe)) == recipe
    words = command_words(recipe)
    assert words[words.index("--init") + 1] == "prune:3"


def test_what_a_pruned_model_computes_is_known_without_images(few: Data, values: dict[str, Any]) -> None:
    none: Any = ()
    whole, pruned = (
        count_start(recipe_of(values, **more), replace(few, train=none, validation=none))
        for more in ({}, {"init": "prune:3"})
    )
    block = (whole.parameters - pruned.parameters) / 2
    # 12 width^2 in the matrices of a block of width 32, and its vectors.
    assert block == 12 * 32**2 + 13 * 32
    assert pruned.macs < whole.macs


def test_a_study_prunes_to_each_of_its_depths(values: dict[str, Any]) -> None:
    arm = {"kind": "finetune", "init": "prune", "checkpoint": values["checkpoint"], "model-arg": values["model-arg"]}
    study = make_study({"depths": [2, 3], "data": {"digits": {"data": "digits"}}, "arms": {"prune": arm}})
    recipes: list[Any] = [task.recipe(study, {}) for task in list_tasks(study)]
    assert [recipe.init for recipe in recipes] == ["prune:2", "prune:3"]
    assert {recipe.model_arguments["depth"] for recipe in recipes} == {5}
