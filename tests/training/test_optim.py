"""Optimisers and schedules: whose rates they are, and that a saved state goes on to the bit."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import timm
import torch

from tests.training.conftest import ARGUMENTS, VIT
from tleg.errors import FileFormatError, InputError
from tleg.learngene.basis import Basis
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.recipes.training import OPTIMIZERS, Recipe
from tleg.training.optim import freeze, load_optimizer_tensors, make_optimizer, make_schedule, optimizer_tensors

MakeRecipe = Callable[..., Recipe]


def small_vit(depth: int = 3) -> Any:
    torch.manual_seed(0)
    return timm.create_model(VIT, **ARGUMENTS, depth=depth, in_chans=1, num_classes=10)


def train(model: torch.nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        images = torch.rand(4, 1, 8, 8, generator=generator)
        schedule.step_update(step)
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("layer_decay", [1.0, 0.7])
def test_a_saved_optimiser_goes_on_to_the_bit(recipe: MakeRecipe, name: str, layer_decay: float) -> None:
    chosen = recipe(optimizer=name, learning_rate=1e-2)
    whole, first, second = small_vit(), small_vit(), small_vit()
    optimizer = make_optimizer(whole, chosen, layer_decay)
    train(whole, optimizer, make_schedule(optimizer, chosen, 4), range(6))
    optimizer = make_optimizer(first, chosen, layer_decay)
    train(first, optimizer, make_schedule(optimizer, chosen, 4), range(3))
    tensors, numbers = optimizer_tensors(optimizer, dict(first.named_parameters()))
    tensors = {key: value.clone() for key, value in tensors.items()}
    second.load_state_dict(first.state_dict())
    optimizer = make_optimizer(second, chosen, layer_decay)
    load_optimizer_tensors(optimizer, tensors, numbers, dict(second.named_parameters()))
    train(second, optimizer, make_schedule(optimizer, chosen, 4), range(3, 6))
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in whole.state_dict().items())
    moved = small_vit().state_dict()
    assert any(not torch.equal(value, moved[key]) for key, value in whole.state_dict().items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_goes_where_its_optimiser_keeps_it(recipe: MakeRecipe, name: str) -> None:
    # A device that is not the CPU, and a parameter that is one number, as timm's NFNets have: its averages are no counters.
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.ones(4, 3, device="meta"))
    model.gain = torch.nn.Parameter(torch.ones((), device="meta"))
    parameters = dict(model.named_parameters())
    kept, loaded = make_optimizer(model, recipe(optimizer=name)), make_optimizer(model, recipe(optimizer=name))
    for value in parameters.values():
        value.grad = torch.zeros_like(value)
    kept.step()
    tensors, numbers = optimizer_tensors(kept, parameters)
    stored = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in tensors.items()}
    load_optimizer_tensors(loaded, stored, numbers, parameters)
    places = {key: value.device for key, value in optimizer_tensors(loaded, parameters)[0].items()}
    assert places == {key: value.device for key, value in tensors.items()}


def test_a_state_for_other_parameters_is_refused(recipe: MakeRecipe) -> None:
    model = small_vit()
    optimizer = make_optimizer(model, recipe())
    train(model, optimizer, make_schedule(optimizer, recipe(), 4), range(1))
    tensors, numbers = optimizer_tensors(optimizer, dict(model.named_parameters()))
    other = small_vit(2)
    with pytest.raises(FileFormatError, match=r"a state for 'blocks\.2\.\S+', which is not trained here"):
        load_optimizer_tensors(make_optimizer(other, recipe()), tensors, numbers, dict(other.named_parameters()))


def test_weight_decay_spares_vectors_embeddings_and_their_terms(recipe: MakeRecipe) -> None:
    model = AuxiliaryModel(describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10), Basis())
    optimizer = make_optimizer(model, recipe())
    names = {id(value): name for name, value in model.named_parameters()}
    decayed = {names[id(value)] for group in optimizer.param_groups if group["weight_decay"] for value in group["params"]}
    assert decayed == {
        "vit.patch_embed.proj.weight",
        "vit.head.weight",
        "terms.attn/qkv/weight",
        "terms.attn/proj/weight",
        "terms.mlp/fc1/weight",
        "terms.mlp/fc2/weight",
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)


def test_each_layer_has_its_part_of_the_rate(recipe: MakeRecipe) -> None:
    model = small_vit(4)
    chosen = recipe(learning_rate=1e-3, warmup_epochs=0, schedule="constant")
    optimizer = make_optimizer(model, chosen, 0.5)
    make_schedule(optimizer, chosen, 10)
    rates = {id(value): group["lr"] for group in optimizer.param_groups for value in group["params"]}
    parameters = dict(model.named_parameters())

    def rate(name: str) -> float:
        found: float = rates[id(parameters[name])]
        return found

    # The head is the layer above the last block; timm puts the final norm with it or below it.
    head = rate("head.weight")
    blocks = [rate(f"blocks.{index}.mlp.fc1.weight") for index in range(4)]
    assert head == pytest.approx(1e-3)
    assert all(above == pytest.approx(2 * below) for below, above in pairwise(blocks))
    assert rate("patch_embed.proj.weight") == pytest.approx(blocks[0] / 2)
    assert len({rate(f"blocks.2.{name}") for name in ("norm1.weight", "attn.qkv.weight", "mlp.fc2.bias")}) == 1


def test_layer_decay_needs_layers(recipe: MakeRecipe) -> None:
    with pytest.raises(InputError, match="timm knows no order of the layers of Linear"):
        make_optimizer(torch.nn.Linear(2, 2), recipe(), 0.5)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_every_step_has_a_rate_of_its_own(recipe: MakeRecipe, schedule: str) -> None:
    # The official schedule steps once an epoch, at its end: the first two epochs have the same rate.
    chosen = recipe(epochs=5, warmup_epochs=2, learning_rate=1e-3, minimum_rate=0.1, schedule=schedule)
    optimizer = make_optimizer(small_vit(1), chosen)
    stepped = make_schedule(optimizer, chosen, 10)

    def rate(step: int) -> float:
        stepped.step_update(step)
        return float(optimizer.param_groups[0]["lr"])

    rates = [rate(step) for step in range(50)]
    assert [rate(step) for step in reversed(range(50))] == rates[::-1]
    assert rates[0] == pytest.approx(1e-6)
    assert all(a < b for a, b in pairwise(rates[:21]))
    assert rates[20] == pytest.approx(1e-3)
    if schedule == "constant":
        assert rates[20:] == pytest.approx([1e-3] * 30)
    else:
        assert all(a > b for a, b in pairwise(rates[20:]))
        assert rates[-1] == pytest.approx(1e-4, rel=0.35)
    middle = {"cosine": 5.5e-4, "linear": 5.5e-4, "constant": 1e-3}[schedule]
    assert rates[35] == pytest.approx(middle, rel=1e-6)


def test_frozen_parts_are_not_trained(recipe: MakeRecipe) -> None:
    model = small_vit(4)
    names = freeze(model, (("stem", None), ("blocks", 2)))
    assert {name.partition(".")[0] for name in names} == {"patch_embed", "cls_token", "pos_embed", "blocks"}
    assert {name.split(".")[1] for name in names if name.startswith("blocks.")} == {"0", "1"}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = make_optimizer(model, recipe(weight_decay=0.5))
    train(model, optimizer, make_schedule(optimizer, recipe(warmup_epochs=0), 4), range(2))
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    assert same == set(names)


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        ((("blocks", 5),), "freeze has blocks:5, and the model has 4 blocks"),
        ((("stem", None), ("blocks", None), ("head", None)), None),
    ],
)
def test_what_cannot_be_frozen(frozen: tuple[tuple[str, int | None], ...], message: str | None) -> None:
    model = small_vit(4)
    if message is None:
        # The final norm is left.
        assert "norm.weight" not in freeze(model, frozen)
        return
    with pytest.raises(InputError, match=message):
        freeze(model, frozen)


def test_a_model_without_blocks_cannot_freeze_them() -> None:
    with pytest.raises(InputError, match="ResNet has no blocks that could be frozen"):
        freeze(timm.create_model("resnet10t", channels=[8, 8, 8, 8], stem_width=8), (("blocks", None),))
