"""What is evaluated, and kept: the same weights and statistics in every process, and none that are out of date."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.conftest import Recorder, finetune_job, first_images
from tests.training.processes import play
from tleg.data.datasets import Data
from tleg.errors import TlegError
from tleg.recipes.training import Keeping, Recipe
from tleg.training import trainer
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World, in_eval_mode
from tleg.training.finetune import finetune
from tleg.training.init import init_from_timm
from tleg.training.resume import finished_model

MakeRecipe = Callable[..., Recipe]


def save(checkpoints: Checkpoints, step: int, value: float, score: float | None) -> None:
    """A checkpoint of one number."""
    weights = {"model.weight": torch.full((1, 1), value)}
    checkpoints.save(
        step, step, {"model": weights}, milestone=False, score=score, optimizer={}, scaler=None, about={"model": {}}
    )


def test_every_process_takes_the_best_that_the_first_one_knows(tmp_path: Path) -> None:
    # The last checkpoint is the best, and the first process still writes it when the other is at the end.
    checkpoints = Checkpoints(tmp_path, Keeping(result="best", keep_last=1))
    save(checkpoints, 1, 0.25, 70.0)

    def part(world: World) -> float:
        model = nn.Linear(1, 1, bias=False)
        if world.is_main:
            time.sleep(0.2)
            save(checkpoints, 2, 0.5, 80.0)
        return finished_model(model, checkpoints, world).get_parameter("weight").item()

    assert play(part, part) == [0.5, 0.5]
    (tmp_path / "step-000000002" / "model.safetensors").write_bytes(b"damaged")
    for error in play(*[lambda world: finished_model(nn.Linear(1, 1), checkpoints, world)] * 2):
        assert isinstance(error, TlegError)
        assert "is damaged" in str(error)


def test_running_statistics_are_the_first_process_s_in_all() -> None:
    # Also when nothing was evaluated on the way, and of the average.
    def part(world: World) -> list[float]:
        model = nn.BatchNorm1d(2)
        model.running_mean = torch.full((2,), float(world.rank + 1))
        finished = finished_model(model, None, world)
        assert not finished.training
        return finished.get_buffer("running_mean").tolist()

    assert play(part, part) == [[1.0, 1.0]] * 2


def test_what_a_model_keeps_of_its_weights_for_evaluations_is_forgotten() -> None:
    from timm.models.tiny_vit import Attention

    torch.manual_seed(0)
    attention = Attention(dim=8, key_dim=4, num_heads=2, resolution=(2, 2))
    images = torch.rand(1, 4, 8)
    with torch.inference_mode():
        in_eval_mode(attention, SINGLE)(images)
        # As the average's weights move: it is never trained.
        attention.attention_biases.data += torch.tensor([[0.0, 3.0, -3.0, 1.0]] * 2)
        fresh = copy.deepcopy(attention)
        fresh.train()
        expected = fresh(images)
        assert not torch.allclose(attention(images), expected, atol=1e-4)
        assert torch.allclose(in_eval_mode(attention, SINGLE)(images), expected, atol=1e-6)
    assert not attention.training


def test_the_model_and_its_average_are_made_ready_for_every_evaluation(
    digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready: list[nn.Module] = []

    def remember(model: nn.Module, world: World) -> nn.Module:
        ready.append(model)
        return in_eval_mode(model, world)

    monkeypatch.setattr(trainer, "in_eval_mode", remember)
    few = first_images(digits.train, 64)
    start = init_from_timm("resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8}, image_size=(8, 8))
    data = replace(digits, train=few, validation=few)
    job = finetune_job(data, start, recipe=recipe(epochs=2, batch_size=32, ema=0.9), keeping=Keeping(evaluate_every=1))
    finetune(job, placement, tmp_path / "m", observer=Recorder())
    first, average, *again = ready
    assert first is not average
    assert [id(model) for model in again] == [id(first), id(average)]
