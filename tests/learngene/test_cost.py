"""Counting: the published figures, fvcore, counted parameters and torch's own counter all agree."""

from functools import cache
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tleg.errors import DepthError, FileFormatError, InputError
from tleg.learngene.cost import Budget, CostModel, DepthCost, PartCosts
from tleg.models.architecture import build, describe
from tleg.models.flops import count_macs, measure

NAMES = {size: f"deit_{size}_patch16_224" for size in ("tiny", "small", "base")}

# 224 pixels, 1000 classes, no class token, normalise then pool: the learngene, then depths 1, 2, 8 and 12.
PARAMETERS = {
    "tiny": (1_268_392, 823_528, 1_268_392, 3_937_576, 5_717_032),
    "small": (4_305_256, 2_530_792, 4_305_256, 14_952_040, 22_049_896),
    "base": (15_687_400, 8_599_528, 15_687_400, 58_214_632, 86_566_120),
}
# Depths 1, 8 and 12.
MACS = {
    "tiny": (131_113_728, 843_939_072, 1_251_267_840),
    "small": (435_635_712, 3_075_144_192, 4_583_434_752),
    "base": (1_564_904_448, 11_699_352_576, 17_490_465_792),
}
DEPTHS = (1, 3, 8, 12, 24)


@cache
def cost_of(size: str) -> CostModel:
    return measure(describe(NAMES[size]))


@pytest.mark.parametrize("size", NAMES)
def test_parameters_of_the_table(size: str) -> None:
    cost = cost_of(size)
    learngene, *descendants = PARAMETERS[size]
    assert [cost.parameters.at(depth) for depth in (1, 2, 8, 12)] == descendants
    assert cost.parameters.at(2) == learngene  # Two terms weigh what two layers do.


@pytest.mark.parametrize("size", NAMES)
def test_macs_of_the_table(size: str) -> None:
    assert tuple(cost_of(size).macs.at(depth) for depth in (1, 8, 12)) == MACS[size]


@pytest.mark.parametrize(("size", "published"), [("tiny", 1.2584), ("small", 4.6083), ("base", 17.5827)])
def test_published_figures_of_deit(size: str, published: float) -> None:
    cost = measure(describe(NAMES[size], {"class_token": True}))
    assert round(cost.macs.at(12) / 1e9, 4) == published


@pytest.mark.parametrize("size", NAMES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_counted_parameters(size: str, depth: int) -> None:
    model = build(describe(NAMES[size]), depth, device="meta")
    assert cost_of(size).parameters.at(depth) == sum(value.numel() for value in model.parameters())


FVCORE: list[tuple[str, int, Any]] = [("tiny", depth, ()) for depth in DEPTHS] + [("small", 3, ()), ("base", 1, ())]
FVCORE += [(size, depth, pytest.mark.slow) for size in ("small", "base") for depth in DEPTHS]


@pytest.mark.parametrize(("size", "depth"), [pytest.param(size, depth, marks=marks) for size, depth, marks in FVCORE])
def test_fvcore(size: str, depth: int) -> None:
    architecture = describe(NAMES[size])
    counts = count_macs(build(architecture, depth).eval(), torch.zeros(1, *architecture.input_size))
    assert cost_of(size).macs.at(depth) == counts[""]


@pytest.mark.parametrize(("size", "depth"), [("tiny", 1), ("tiny", 8), ("small", 3)])
def test_torchs_own_counter_agrees_but_for_layer_norm(size: str, depth: int) -> None:
    architecture = describe(NAMES[size])
    structure = architecture.structure
    assert structure is not None
    model = build(architecture, depth).eval()
    counter = FlopCounterMode(display=False)
    # Some releases of torch do not count the fused attention of the CPU.
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, *architecture.input_size))
    # fvcore counts 5 for each value that a LayerNorm with weight and bias handles: two in every layer, one at the end.
    norms = 5 * structure.tokens * structure.width * (2 * depth + 1)
    pooling = cost_of(size).macs.at(depth) - norms - counter.get_total_flops() // 2
    # What is left is the average over the patches, which fvcore counts once for each value.
    assert 0 <= pooling <= structure.tokens * structure.width


@pytest.mark.parametrize("depth", [1, 3, 7])
@pytest.mark.parametrize("arguments", [{}, {"class_token": True, "reg_tokens": 2}])
def test_training_memory_is_what_autograd_keeps(tiny_learngene: Any, depth: int, arguments: dict[str, Any]) -> None:
    learngene = tiny_learngene("vit_tiny_patch16_224", arguments)
    model = learngene.expand(depth)
    images = torch.zeros(1, *learngene.header.architecture.input_size)
    known = {value.data_ptr() for value in (*model.parameters(), images)}
    kept: dict[int, torch.Tensor] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        if value.untyped_storage().data_ptr() not in known:
            kept.setdefault(value.untyped_storage().data_ptr(), value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        model(images)
    cost = learngene.header.cost
    assert sum(value.untyped_storage().nbytes() for value in kept.values()) == (
        cost.training_bytes_base + depth * cost.training_bytes_per_layer
    )
    parameters = sum(value.numel() for value in model.parameters())
    assert cost.at(depth, 3).training_memory == 16 * parameters + 3 * sum(
        value.untyped_storage().nbytes() for value in kept.values()
    )


def test_split_adds_up(tiny_learngene: Any) -> None:
    cost = tiny_learngene().header.cost
    for costs in (cost.parameters, cost.macs):
        for depth in (1, 5, 96):
            assert sum(costs.split(depth).values()) == costs.at(depth)


def test_a_cost_at_a_depth(tiny_learngene: Any) -> None:
    cost = tiny_learngene().header.cost
    one, many = cost.at(4), cost.at(4, batch=10)
    assert one.size == 4 * one.parameters
    assert many.inference_memory - one.inference_memory == 9 * cost.inference_bytes
    assert (many.macs, many.parameters, many.size) == (one.macs, one.parameters, one.size)
    with pytest.raises(DepthError):
        cost.at(0)
    with pytest.raises(InputError):
        cost.at(1, batch=0)


def test_budget(tiny_learngene: Any) -> None:
    cost = tiny_learngene().header.cost
    costs = [cost.at(depth) for depth in range(1, 25)]
    budget = Budget(size=costs[6].size, macs=costs[9].macs)
    deepest = budget.deepest(costs)
    assert isinstance(deepest, DepthCost)
    assert deepest.depth == 7
    assert budget.exceeded_by(costs[7]) == ("size",)
    assert budget.exceeded_by(costs[10]) == ("macs", "size")
    assert Budget(parameters=1).deepest(costs) is None
    assert budget.limited
    assert not Budget().limited
    assert Budget(parameters=0).limited


def test_negative_costs_are_refused() -> None:
    with pytest.raises(FileFormatError):
        PartCosts(1, 1, -1, 1, 1)


def test_what_writes_no_learngene_does_not_load_fvcore(run_python: Any) -> None:
    code = "import sys, tleg.models.flops, tleg.training.learn, tleg.training.evaluate; print('fvcore' in sys.modules)"
    done = run_python(code)
    assert (done.code, done.stdout.strip()) == (0, "False"), done.stderr
