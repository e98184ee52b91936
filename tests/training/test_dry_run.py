"""The estimate of memory, against what torch really keeps for the backward pass."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tleg.learngene.basis import Basis
from tleg.models.architecture import build, describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.training.dry_run import (
    Load,
    MemoryEstimate,
    advise,
    checkpoint_bytes,
    estimate_memory,
    expanded_parameters,
)

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


class CallAt(torch.nn.Module):
    """An auxiliary model at one depth."""

    def __init__(self, model: AuxiliaryModel, coefficients: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        self.coefficients = coefficients

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(images, self.coefficients)
        return logits


def small_vit(name: str, depth: int, **arguments: Any) -> tuple[Any, Load]:
    """A ViT on images of 96 by 96, and what its training in float32 puts on a device."""
    architecture = describe(name, {"img_size": 96, **arguments}, 10)
    model = build(architecture, depth).train()
    count = sum(value.numel() for value in model.parameters())
    return model, Load(count, IMAGES, "float32", "adamw", False, False, depth, architecture.structure)


def activations_of(load: Load) -> int:
    activations = estimate_memory(load).activations
    assert activations is not None
    return activations


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deit_tiny_patch16_224", {}),
        ("deit_small_patch16_224", {}),
        ("vit_tiny_patch16_224", {"class_token": True, "global_pool": "token", "img_size": 32}),
        ("vit_tiny_patch16_224", {"init_values": 1e-5}),
    ],
)
def test_activations_are_what_torch_keeps(name: str, arguments: dict[str, Any], depth: int) -> None:
    model, load = small_vit(name, depth, **arguments)
    assert load.structure is not None
    images = torch.randn(IMAGES, 3, *load.structure.image_size)
    assert activations_of(load) == pytest.approx(kept_bytes(model, images), rel=0.05)


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "deit_small_patch16_224"])
def test_half_precision_keeps_residuals_in_float32_and_copies_of_weights(name: str) -> None:
    model, load = small_vit(name, 4)
    with torch.autocast("cpu", torch.bfloat16):
        kept = kept_bytes(model, torch.randn(IMAGES, 3, 96, 96))
    half = replace(load, precision="bfloat16")
    assert activations_of(half) == pytest.approx(kept, rel=0.05)
    # Without the copies, which a larger batch does not add to, it is more than half of what float32 keeps.
    assert 0.5 < (activations_of(replace(half, images=400)) / activations_of(replace(load, images=400))) < 0.6


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "deit_small_patch16_224"])
def test_gradient_checkpointing_keeps_inputs_and_one_block(name: str, depth: int) -> None:
    model, load = small_vit(name, depth)
    images = torch.randn(IMAGES, 3, 96, 96)
    # One block is computed again at a time: what a block more would keep.
    whole = kept_bytes(model, images)
    block = whole - kept_bytes(small_vit(name, depth - 1)[0], images)
    model.set_grad_checkpointing(True)
    kept = kept_bytes(model, images) + block
    assert activations_of(replace(load, gradient_checkpointing=True)) == pytest.approx(kept, rel=0.2)
    assert kept < whole / 2


def test_an_auxiliary_model_keeps_the_weights_of_all_layers() -> None:
    _, load = small_vit("deit_tiny_patch16_224", 6)
    architecture = describe("deit_tiny_patch16_224", {"img_size": 96}, 10)
    model = AuxiliaryModel(architecture, Basis())
    coefficients = model.coefficients(6)
    images = torch.randn(IMAGES, 3, 96, 96)
    kept = kept_bytes(CallAt(model, coefficients), images)
    expanded = expanded_parameters(measure(architecture), 6)
    assert expanded == sum(value.numel() for layer in model.expand(coefficients) for value in layer.values())
    # Their gradients come in the backward pass.
    found = activations_of(replace(load, expanded=expanded)) - 4 * expanded
    assert found == pytest.approx(kept, rel=0.05)
    assert found > 1.5 * activations_of(load)


def test_the_parts_of_the_estimate() -> None:
    load = Load(1000, 8, "float32", "adamw", True, False, teacher_parameters=50)
    assert estimate_memory(load) == MemoryEstimate(4000, 4000, 8000, 4000, None, 200)
    assert estimate_memory(load).total == 20200
    assert estimate_memory(replace(load, optimizer="momentum", ema=False)).total == 12200
    assert checkpoint_bytes(load) == 16000
    structure = describe("deit_tiny_patch16_224", {}, 10).structure
    ours = replace(load, depth=12, structure=structure)
    one = activations_of(ours)
    assert activations_of(replace(ours, images=16)) == 2 * one
    assert activations_of(replace(ours, expanded=100)) == one + 800


def test_advice_says_what_to_change() -> None:
    crowded = MemoryEstimate(10**9, 10**9, 2 * 10**9, 0, 10 * 10**9, 0)
    assert advise(crowded, 20 * 10**9) is None
    advice = advise(crowded, 8 * 10**9)
    assert advice is not None
    assert "about 14.0 GB are needed and 8.0 GB are available: give --accumulate 2" in advice
    small = advise(replace(crowded, activations=0), 98_304)
    assert small is not None
    assert "4.0 GB are needed and 98.3 kB are available" in small
    heavy = advise(replace(crowded, activations=0), 2 * 10**9)
    assert heavy is not None
    assert "choose a smaller model" in heavy
