"""The estimate of memory, against what torch really keeps for the backward pass."""

from dataclasses import replace
from typing import Any

import pytest
import timm
import torch

from tleg.architecture import describe
from tleg.training.memory import Load, MemoryEstimate, advise, checkpoint_bytes, estimate_memory

IMAGES = 4


def kept_bytes(model: torch.nn.Module, images: torch.Tensor) -> int:
    """Bytes of the activations that the backward pass of a model keeps, each storage once, parameters left out."""
    own = {value.untyped_storage().data_ptr() for value in model.parameters()}
    seen: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return value

    held = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        held.append(model(images))
    return sum(seen.values())


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "deit_small_patch16_224"])
def test_activations_are_what_torch_keeps(name: str, depth: int) -> None:
    architecture = describe(name, {"img_size": 96}, 10)
    model: Any = timm.create_model(name, img_size=96, num_classes=10, depth=depth)
    kept = kept_bytes(model, torch.randn(IMAGES, 3, 96, 96))
    load = Load(0, IMAGES, "float32", "adamw", False, False, depth, architecture.structure)
    assert estimate_memory(load).activations == pytest.approx(kept, rel=0.2)


def test_gradient_checkpointing_keeps_little() -> None:
    architecture = describe("deit_tiny_patch16_224", {"img_size": 96}, 10)
    model: Any = timm.create_model("deit_tiny_patch16_224", img_size=96, num_classes=10, depth=8)
    model.train().set_grad_checkpointing(True)
    kept = kept_bytes(model, torch.randn(IMAGES, 3, 96, 96))
    plain = Load(0, IMAGES, "float32", "adamw", False, False, 8, architecture.structure)
    activations = estimate_memory(replace(plain, gradient_checkpointing=True)).activations
    whole = estimate_memory(plain).activations
    assert activations is not None
    assert whole is not None
    # It keeps the blocks' inputs, and one block while that is computed again.
    assert kept < activations < whole / 2


def test_the_parts_of_the_estimate() -> None:
    load = Load(1000, 8, "float32", "adamw", True, False, teacher_parameters=50)
    assert estimate_memory(load) == MemoryEstimate(4000, 4000, 8000, 4000, None, 200)
    assert estimate_memory(load).total == 20200
    assert estimate_memory(replace(load, optimizer="momentum", ema=False)).total == 12200
    assert checkpoint_bytes(load) == 16000
    structure = describe("deit_tiny_patch16_224", {}, 10).structure
    ours = replace(load, depth=12, structure=structure)
    one, half = estimate_memory(ours).activations, estimate_memory(replace(ours, precision="bfloat16")).activations
    assert one is not None
    assert half == one / 2
    assert estimate_memory(replace(ours, expanded=100)).activations == one + 800


def test_advice_says_what_to_change() -> None:
    crowded = MemoryEstimate(10**9, 10**9, 2 * 10**9, 0, 10 * 10**9, 0)
    assert advise(crowded, 20 * 10**9) is None
    advice = advise(crowded, 8 * 10**9)
    assert advice is not None
    assert "about 14.0 GB are needed and 8.0 GB are available: give --accumulate 2" in advice
    heavy = advise(replace(crowded, activations=0), 2 * 10**9)
    assert heavy is not None
    assert "choose a smaller model" in heavy
