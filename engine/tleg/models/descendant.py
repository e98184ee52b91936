"""Descendants, and the models that they are compared with: plain timm VisionTransformers of one depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from tleg.errors import FileFormatError, InputError
from tleg.learngene.architecture import Layout
from tleg.learngene.expansion import Array, Expandable, choose_head, expand_tensors, new_head
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth, checked
from tleg.models.architecture import build, timm_family_of
from tleg.models.float16 import to_float16
from tleg.recipes.initial_weights import weights_of_learngene


def expand(
    learngene: Expandable,
    depth: Depth,
    *,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    dtype: Literal["float32", "float16"] | None = None,
    drop_path: float = 0.0,
    seed: int = 0,
) -> VisionTransformer:
    """Return a descendant in eval mode. See `Learngene.expand`.

    drop_path  timm's stochastic depth, for fine-tuning
    seed       of a new head's weights

    The module is built without weights and the expanded ones are put in its place, so nothing is initialised, copied or
    drawn at random but a new head.
    """
    checked(depth)
    head = choose_head(learngene.header.architecture.num_classes, num_classes)
    model = build(
        learngene.header.architecture,
        depth,
        layout=layout,
        num_classes=head.num_classes,
        device="meta",
        drop_path=drop_path,
    )
    family, profile = timm_family_of(learngene.header.architecture), learngene.header.architecture.profile(depth)
    state = {
        name: torch.from_numpy(values) for name, values in expand_tensors(learngene.tensors, learngene.header, depth).items()
    }
    # Stem and head are the learngene's own arrays: a descendant that trains must not change them.
    state = {
        name: values if family.is_block(family.staged_name(name, profile)) else values.clone()
        for name, values in state.items()
    }
    if head.policy == "new":
        # Of the module: a learngene without a head has no weights there.
        inputs = tuple(model.get_submodule(family.classifier).get_parameter("weight").shape[1:])
        values = new_head(inputs, head.num_classes, seed, family.classifier)
        state |= {name: torch.from_numpy(value) for name, value in values.items()}
    state = {family.name_in(layout, name): values for name, values in state.items()}
    if dtype == "float16":
        state = {name: torch.from_numpy(to_float16(name, values.numpy())) for name, values in state.items()}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise FileFormatError(f"the learngene does not fit its architecture: {_one_line(error)}") from error
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    if dtype == "float16":
        model.half()  # What is no parameter, such as the zeros that stand for a bias of keys.
    return model.eval()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# How far a product of weights is random, and how far the identity: of queries and keys, of values and projection.
_QUERY_KEY: Final = 0.7
_VALUE_PROJECTION: Final = 0.4


def baseline(
    learngene: Expandable, depth: Depth, init: str, *, num_classes: int, drop_path: float = 0.0
) -> VisionTransformer:
    """Return a model of a learngene's architecture at a depth, in eval mode, with the initial weights that --init names.

    Random weights are drawn from torch's global generator. Raises InputError for another init, or an architecture that it
    is not for, and DepthError.
    """
    maker = weights_of_learngene(init).load_maker()
    model: VisionTransformer = maker(learngene, depth, num_classes=num_classes, drop_path=drop_path)
    return model


def scratch(learngene: Expandable, depth: Depth, *, num_classes: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return a model with timm's random weights, head and stem included. Raises DepthError."""
    return build(learngene.header.architecture, depth, num_classes=num_classes, drop_path=drop_path).eval()


def mimetic(learngene: Expandable, depth: Depth, *, num_classes: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return the same with attention that looks like a trained one's (Trockman and Kolter, arXiv 2305.09828).

    Queries times keys are near the identity, values times projection near its negative, and the position embeddings of the
    patches sinusoidal, sines and cosines as they are. Raises InputError for other attention, and DepthError.
    """
    model = scratch(learngene, depth, num_classes=num_classes, drop_path=drop_path)
    _mimic(model)
    return model


def share(learngene: Expandable, depth: Depth, *, num_classes: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return a model whose layers are all the layer of term 0, or of the mean of the stages of a piecewise basis.

    It is what is left of a learngene when its layers are not told apart. Raises DepthError.
    """
    return expand(_without_slope(learngene), depth, num_classes=num_classes, drop_path=drop_path)


def tied(learngene: Expandable, depth: Depth, *, num_classes: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return a model of random weights whose layers are one, in each stage: they share their parameters, and go on to.

    What is trained is one layer; the state has it once for every layer, so that the result is a model as others are. Raises
    DepthError.
    """
    model = scratch(learngene, depth, num_classes=num_classes, drop_path=drop_path)
    family = timm_family_of(learngene.header.architecture)
    for stage in range(len(family.stages)):
        first, *others = family.blocks(model, stage)
        for block in others:
            for name, value in first.named_parameters():
                holder, _, own = name.rpartition(".")
                setattr(block.get_submodule(holder), own, value)
    return model


def layer_skip(learngene: Expandable, depth: Depth, *, num_classes: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return a model whose layer l is layer floor(l * A / depth) of the expanded auxiliary model of depth A.

    Raises DepthError.
    """
    auxiliary_depth = learngene.header.auxiliary.depth
    model = expand(learngene, depth, num_classes=num_classes, drop_path=drop_path)
    auxiliary, family = expand(learngene, auxiliary_depth), timm_family_of(learngene.header.architecture)
    for stage in range(len(family.stages)):
        layers, blocks = family.blocks(auxiliary, stage), family.blocks(model, stage)
        for index, block in enumerate(blocks):
            block.load_state_dict(layers[index * len(layers) // len(blocks)].state_dict(), strict=True)
    return model


@dataclass(frozen=True, slots=True)
class _Shared:
    """A learngene whose layers are all the same."""

    header: LearngeneHeader
    tensors: Mapping[str, Array]


def _without_slope(learngene: Expandable) -> _Shared:
    """The learngene whose layers are all the same."""
    # What is left of the terms is their part along the function 1: term 0, or the mean of stages.
    one = np.array(learngene.header.basis.one, np.float32)
    family = timm_family_of(learngene.header.architecture)
    tensors = {}
    for name, values in learngene.tensors.items():
        if family.is_block(name) and len(values) > 1:
            mean = np.tensordot(one / np.sum(one**2), values, axes=1)
            values = np.multiply.outer(one, mean).astype(np.float32)
        tensors[name] = values
    return _Shared(learngene.header, tensors)


@torch.no_grad()
def _mimic(model: VisionTransformer) -> None:
    plain = isinstance(model, VisionTransformer)
    if not plain or model.embed_dim % 4 or not all(hasattr(getattr(block, "attn", None), "qkv") for block in model.blocks):
        raise InputError(
            f"mimetic is for {weights_of_learngene('mimetic').requires}; choose --init scratch",
            field="init",
            code="unsupported",
        )
    for block in model.blocks:
        attention: Any = block.attn
        width, heads = model.embed_dim, int(attention.num_heads)
        size = width // heads
        queries, keys, values = attention.qkv.weight.split(width)
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            left, right = _factors(_QUERY_KEY * (_noise(width) + torch.eye(width)), size)
            # Scores are x Wq^T Wk x^T: the product of this head's rows is near the identity, as far as its rank allows.
            queries[rows], keys[rows] = left.T, right
        # All heads together: the output is x Wv^T Wp^T.
        left, right = _factors(_VALUE_PROJECTION * (_noise(width) - torch.eye(width)), width)
        values.copy_(left.T)
        attention.proj.weight.copy_(right.T)
    if model.pos_embed is not None:
        _embed_positions(model.pos_embed, model)


def _noise(width: int) -> Tensor:
    noise: Tensor = torch.randn(width, width) / width**0.5
    return noise


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return (width, rank) and (rank, width) whose product is the best of that rank, with equal shares of its size."""
    left, sizes, right = torch.linalg.svd(product)
    roots = sizes[:rank].sqrt()
    return left[:, :rank] * roots, roots[:, None] * right[:rank]


def _embed_positions(positions: Tensor, model: VisionTransformer) -> None:
    """Sinusoidal position embeddings of the patches; prefix tokens keep theirs."""
    from timm.layers import build_sincos2d_pos_embed

    patches: Any = model.patch_embed
    embedding = build_sincos2d_pos_embed(list(patches.grid_size), dim=model.embed_dim)
    positions[0, -len(embedding) :] = embedding
