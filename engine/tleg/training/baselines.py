"""What a descendant is compared with: models of the same architecture and depth that start from something else."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from tleg.architecture import build
from tleg.descendant import expand as expand_descendant
from tleg.errors import InputError, did_you_mean
from tleg.learngene import Learngene
from tleg.names import is_block
from tleg.recipes.kinds import INITS

# How far a product of weights is random, and how far the identity: of queries and keys, of values and projection.
_QUERY_KEY: Final = 0.7
_VALUE_PROJECTION: Final = 0.4


def baseline(learngene: Learngene, depth: int, init: str, *, num_classes: int, drop_path: float = 0.0) -> VisionTransformer:
    """Return a model of a learngene's architecture at a depth, in eval mode.

    init  'scratch'     timm's random weights, head and stem included
          'mimetic'     the same, with attention that looks like a trained one's (Trockman and Kolter, arXiv 2305.09828):
                        queries times keys near the identity, values times projection near its negative, and sinusoidal
                        position embeddings of the patches, sines and cosines as they are
          'share'       every layer is the layer of term 0, or of the mean of the stages of a piecewise basis: what is left
                        of a learngene when its layers are not told apart
          'layer-skip'  layer l is layer floor(l * A / depth) of the expanded auxiliary model of depth A

    Random weights are drawn from torch's global generator. Raises InputError for another init, or an architecture that
    'mimetic' says nothing of, and DepthError.
    """
    if init not in INITS:
        raise InputError(f"unknown init '{init}': choose {', '.join(INITS)}.{did_you_mean(init, INITS)}")
    if init == "share":
        return expand_descendant(_without_slope(learngene), depth, num_classes=num_classes, drop_path=drop_path)
    if init == "layer-skip":
        return _skip_layers(learngene, depth, num_classes, drop_path)
    model = build(learngene.header.architecture, depth, num_classes=num_classes, drop_path=drop_path)
    if init == "mimetic":
        _mimic(model)
    return model.eval()


def _without_slope(learngene: Learngene) -> Learngene:
    """The learngene whose layers are all the same."""
    # What is left of the terms is their part along the function 1: term 0, or the mean of stages.
    one = np.array(learngene.header.basis.one, np.float32)
    tensors = {}
    for name, values in learngene.tensors.items():
        if is_block(name) and len(values) > 1:
            mean = np.tensordot(one / np.sum(one**2), values, axes=1)
            values = np.multiply.outer(one, mean).astype(np.float32)
        tensors[name] = values
    return replace(learngene, tensors=tensors)


def _skip_layers(learngene: Learngene, depth: int, num_classes: int, drop_path: float) -> VisionTransformer:
    auxiliary_depth = learngene.header.auxiliary.depth
    model = expand_descendant(learngene, depth, num_classes=num_classes, drop_path=drop_path)
    layers = expand_descendant(learngene, auxiliary_depth).blocks
    for index, block in enumerate(model.blocks):
        block.load_state_dict(layers[index * auxiliary_depth // depth].state_dict(), strict=True)
    return model


@torch.no_grad()
def _mimic(model: VisionTransformer) -> None:
    if model.embed_dim % 4 or not all(hasattr(getattr(block, "attn", None), "qkv") for block in model.blocks):
        raise InputError("mimetic is for ViTs of plain attention and a width that 4 divides; choose --init scratch")
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
