"""`--init tied`: one layer for all, which stays one while it is trained, and a result as others are."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tleg
from tests.models.test_families import EXAMPLES
from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, first_images
from tleg.data.datasets import Data
from tleg.models.architecture import timm_family_of
from tleg.models.descendant import baseline
from tleg.models.timm_folder import load_timm_folder
from tleg.recipes.training import Keeping, Recipe
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_learngene
from tleg.training.observer import TrainingStoppedError


@pytest.fixture
def gene(tiny_learngene: Any, tmp_path: Path) -> Path:
    path = tmp_path / "gene.safetensors"
    made = tiny_learngene(VIT, {**ARGUMENTS, "in_chans": 1}, num_classes=10, classes=tuple("0123456789"))
    made.save(path)
    return path


@pytest.fixture
def few(digits: Data) -> Data:
    """96 training images, 32 for validation."""
    return replace(digits, train=first_images(digits.train, 96), validation=first_images(digits.validation, 32))


def layers_of(folder: Path) -> list[dict[str, torch.Tensor]]:
    """The parameters of each layer."""
    state = load_file(folder / "model.safetensors")
    depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
    starts = [f"blocks.{layer}." for layer in range(depth)]
    return [{name.removeprefix(each): state[name] for name in state if name.startswith(each)} for each in starts]


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "clip_gradient": 0.5}, {"optimizer": "sgd"}])
def test_layers_stay_one_and_a_stopped_training_goes_on_to_the_bit(
    few: Data,
    placement: Placement,
    recipe: Callable[..., Recipe],
    gene: Path,
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    keeping = Keeping(evaluate_every=1, checkpoint_steps=1)
    start = init_from_learngene(str(gene), 3, init="tied")
    job = finetune_job(few, start, recipe=recipe(batch_size=32, **options), keeping=keeping)
    finetune(job, placement, tmp_path / "whole")
    checkpoints = Checkpoints(tmp_path / "checkpoints", keeping)
    with pytest.raises(TrainingStoppedError):
        finetune(job, placement, tmp_path / "again", checkpoints=checkpoints, observer=Recorder(stop_after=3))
    finetune(job, placement, tmp_path / "again", checkpoints=checkpoints)
    whole, again = layers_of(tmp_path / "whole"), layers_of(tmp_path / "again")
    assert len(whole) == 3
    for layer in (*whole[1:], *again):
        assert all(torch.equal(value, whole[0][name]) for name, value in layer.items())
    torch.manual_seed(0)
    before = start(few).model.get_parameter("blocks.0.mlp.fc1.weight")
    assert not torch.allclose(before, whole[0]["mlp.fc1.weight"], atol=1e-3)
    # As any model: nothing is shared any more.
    model = load_timm_folder(tmp_path / "whole")
    assert len({value.data_ptr() for value in model.parameters()}) == len(list(model.parameters()))
    assert json.loads((tmp_path / "whole" / "training.json").read_text())["lineage"]["init"] == "tied"


def test_an_average_moves_once_a_step(
    few: Data, placement: Placement, recipe: Callable[..., Recipe], gene: Path, tmp_path: Path
) -> None:
    # A layer that is in the state three times moved three times as far in timm's average.
    keeping = Keeping(evaluate_every=0, checkpoint_steps=1, keep_last=9)
    job = finetune_job(
        few,
        init_from_learngene(str(gene), 3, init="tied"),
        recipe=recipe(batch_size=32, epochs=1, ema=0.5),
        keeping=keeping,
    )
    finetune(job, placement, tmp_path / "out", checkpoints=Checkpoints(tmp_path / "checkpoints", keeping))
    names = ("blocks.1.mlp.fc1.weight", "head.weight")
    parts = {}
    for name in names:
        states = [
            (load_file(step / "model.safetensors"), load_file(step / "ema.safetensors"))
            for step in sorted((tmp_path / "checkpoints").glob("step-*"))[-2:]
        ]
        (_, before), (model, after) = states
        value = next(each for key, each in model.items() if key.endswith(name))
        parts[name] = float((after[name] - before[name]).norm() / (value - before[name]).norm())
    assert parts[names[0]] == pytest.approx(parts[names[1]], rel=1e-2)


def test_stages_have_a_layer_each() -> None:
    name, arguments = EXAMPLES["swin"]
    learngene = tleg.fit(name, model_arguments=arguments, shuffles=2).learngene
    torch.manual_seed(0)
    model = baseline(learngene, learngene.header.architecture.profile(4), "tied", num_classes=3)
    family = timm_family_of(learngene.header.architecture)
    for stage in range(4):
        first, *others = family.blocks(model, stage)
        own = dict(first.named_parameters())
        assert all(value is own[name] for each in others for name, value in each.named_parameters())
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
