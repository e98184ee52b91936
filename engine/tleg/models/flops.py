"""Measuring what descendants cost, once, when a learngene is written.

fvcore counts one multiply-accumulate as one flop, LayerNorm included; it is given the operator that it does not know,
scaled_dot_product_attention. Depths 1 and 2 are measured: the difference is one layer, and everything is exactly affine.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tleg.errors import ArchitectureError
from tleg.learngene.architecture import Architecture
from tleg.learngene.cost import CostModel, PartCosts, StageCost
from tleg.models.architecture import build, timm_family_of
from tleg.models.timm_family import TimmFamily

ATTENTION_OPERATOR = "aten::scaled_dot_product_attention"


def measure(architecture: Architecture) -> CostModel:
    """Return the cost of an architecture's descendants, in the auxiliary layout. Takes under a second for a ViT-B.

    Raises ArchitectureError when a layer's cost differs from its parts' (no known model does).
    """
    family = timm_family_of(architecture)
    models = [build(architecture, depth).eval() for depth in (1, 2)]
    images = torch.zeros(1, *architecture.input_size)
    counts = [count_macs(model, images) for model in models]
    macs = _split(family, architecture, counts)
    values = [_count_parameters(model) for model in models]
    saved = [_saved_bytes(model, images) for model in models]
    stages = None
    if architecture.stages:
        stages = _measure_stages(architecture, images, counts[0], values[0], saved[0])
    return CostModel(
        parameters=_split(family, architecture, values),
        macs=macs,
        training_bytes_base=2 * saved[0] - saved[1],
        training_bytes_per_layer=saved[1] - saved[0],
        inference_bytes=family.inference_bytes(models[0], architecture.input_size),
        stages=stages,
    )


def _measure_stages(
    architecture: Architecture, images: Tensor, macs: Mapping[str, int], parameters: Mapping[str, int], saved: int
) -> tuple[StageCost, ...]:
    """What one more block of each stage costs. All of a stage compute the same; what autograd keeps of them may differ.

    macs, parameters  of the descendant of depth 1, by module
    saved             the bytes of activations that it keeps for the backward pass
    """
    family, profile = timm_family_of(architecture), architecture.profile(1)
    costs = []
    for stage in range(len(profile)):
        blocks = [family.timm_name(block, profile).rstrip(".") for block in family.layer_prefixes(stage, 0).values()]
        more = tuple(layers + (index == stage) for index, layers in enumerate(profile))
        kept = _saved_bytes(build(architecture, more).eval(), images)
        own, products = (sum(counts[block] for block in blocks) for counts in (parameters, macs))
        costs.append(StageCost(own, products, kept - saved))
    return tuple(costs)


def count_macs(model: nn.Module, images: Tensor) -> dict[str, int]:
    """Return the MACs of a model and of each of its modules by name ('' is the whole), as fvcore counts them."""
    with warnings.catch_warnings():
        # fvcore compiles a loss of its own when it is imported, in a way that torch deprecates. Nobody here can help that.
        # It is imported here, because what writes no learngene needs none of it.
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis
    analysis = FlopCountAnalysis(model, images)
    analysis.set_op_handle(ATTENTION_OPERATOR, _attention_macs)
    analysis.unsupported_ops_warnings(False)
    analysis.uncalled_modules_warnings(False)
    counts: Counter[str] = analysis.by_module()
    return {name: int(value) for name, value in counts.items()}


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """B * h * 2 * N * M * d for q (B, h, ..., N, d) and k (B, h, ..., M, d): the products q k^T and attention times v."""
    (*batches, queries, width), keys = inputs[0].type().sizes(), inputs[1].type().sizes()[-2]
    return math.prod(map(int, batches)) * 2 * int(queries * keys * width)


def _count_parameters(model: VisionTransformer) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name, value in model.named_parameters():
        parts = name.split(".")
        for length in range(len(parts)):
            counts[".".join(parts[:length])] += value.numel()
        counts[name] = value.numel()
    return counts


def _split(family: TimmFamily, architecture: Architecture, counts: list[dict[str, int]]) -> PartCosts:
    one, two = counts
    layer = two[""] - one[""]
    attention, mlp = (_of_blocks(family, architecture, part, one) for part in ("attention", "mlp"))
    head = sum(one.get(name, 0) for name in family.head)
    if attention + mlp > layer or head + layer > one[""]:
        raise ArchitectureError("the cost of a layer is not the sum of its parts, so it cannot be extrapolated")
    return PartCosts(attention, mlp, layer - attention - mlp, one[""] - layer - head, head)


def _of_blocks(family: TimmFamily, architecture: Architecture, part: str, counts: Mapping[str, int]) -> int:
    """What the modules of a part count in the blocks that one more of depth adds, each as the first of its stage."""
    total, profile = 0, architecture.profile(1)
    for stage, (one, two) in enumerate(zip(profile, architecture.profile(2), strict=True)):
        for staged in family.layer_prefixes(stage, 0).values():
            block = family.timm_name(staged, profile)
            modules = (name.removeprefix(block) for name in counts if name.startswith(block))
            # The outermost that belong to the part: a block may be several blocks, '0.attn' and '1.attn'.
            ours = (
                each for each in modules if family.part_of(each) == part and family.part_of(each.rpartition(".")[0]) != part
            )
            total += (two - one) * sum(counts[f"{block}{each}"] for each in ours)
    return total


def _saved_bytes(model: nn.Module, images: Tensor) -> int:
    """The bytes of activations that autograd keeps for the backward pass, parameters and images not counted."""
    known = {value.untyped_storage().data_ptr() for value in (*model.parameters(), images)}
    saved: dict[int, int] = {}
    kept: list[Tensor] = []  # Alive, so that no storage's address is used twice.

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
            kept.append(value)
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        model(images)
    return sum(saved.values())
