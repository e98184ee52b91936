"""timm's plain VisionTransformer: what it computes, and which of its models are plain."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, cast

import torch
from timm.layers import Attention, LayerNorm, Mlp, PatchEmbed, resample_abs_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from tleg.errors import ArchitectureError, did_you_mean
from tleg.learngene.architecture import Architecture, Layout, Structure
from tleg.learngene.structure import PlainVit
from tleg.models.timm_family import RunStage, TimmFamily
from tleg.models.timm_folder import image_argument


class TimmPlainVit(PlainVit, TimmFamily):
    """timm's plain VisionTransformer with a depth argument and equal blocks."""

    # What an auxiliary model has, where timm's own names mean something else.
    defaults = MappingProxyType({"class_token": False, "global_pool": "avg", "fc_norm": False})

    def auxiliary_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        pool = {"global_pool": "token"} if given.get("class_token") else {}
        return {**self.defaults, **pool, **given}

    def arguments_of(self, model: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(model, VisionTransformer):
            return dict(arguments)
        # The family's own are others than timm's: no class token, and a norm before the pooling.
        return {**arguments, "class_token": model.has_class_token, "global_pool": model.global_pool, "fc_norm": False}

    def options(self, architecture: Architecture) -> dict[str, Any]:
        return {} if architecture.eps is None else {"norm_layer": partial(LayerNorm, eps=architecture.eps)}

    def examine(self, model: nn.Module, architecture: Architecture) -> Architecture:
        name = architecture.name
        if type(model) is not VisionTransformer:
            raise ArchitectureError(
                f"'{name}' is a {type(model).__name__}; tleg expands timm's plain VisionTransformer "
                "(deit, vit, deit3, dinov2)"
            )
        self.check_blocks(model, name, architecture.profile(2))
        height, width = cast(PatchEmbed, model.patch_embed).img_size
        self.check_patches(model, (height, width))
        structure, _ = plain_structure(model)
        return replace(architecture, input_size=(model.in_chans, height, width), structure=structure)

    def refusal(self, architecture: Architecture, reason: str) -> str:
        asked = {name for name, value in architecture.arguments.items() if self.defaults.get(name, name) != value}
        if "unexpected keyword argument" in reason:
            argument = reason.rpartition("argument ")[2].strip("'\"")
            if argument in asked:
                known = inspect.signature(VisionTransformer).parameters
                return f"'{architecture.name}' takes no argument '{argument}'.{did_you_mean(argument, known)}"
            reason = f"it takes no '{argument}'"
        if not asked:
            return f"'{architecture.name}' cannot be expanded as timm's plain ViTs can (deit, vit, deit3, dinov2): {reason}"
        return f"timm cannot build '{architecture.name}' with these arguments: {reason}"

    def features(self, model: Any, images: Tensor, run: RunStage) -> Tensor:
        size = (int(images.shape[2]), int(images.shape[3]))
        tokens = (
            model._pos_embed(model.patch_embed(images))
            if size == model.patch_embed.img_size
            else _embed(model, images, size)
        )
        x = model.norm_pre(model.patch_drop(tokens))
        result: Tensor = model.norm(run(0, x))
        return result

    def takes_sizes(self, architecture: Architecture) -> bool:
        return architecture.structure is not None

    def inference_bytes(self, model: Any, input_size: tuple[int, int, int]) -> int:
        """In the attention x, its norm, q, k, v and the result; in the MLP x, its norm and the hidden layer before and after
        its activation."""
        block = self.blocks(model, 0)[0]
        hidden = max((module.out_features for module in block.modules() if isinstance(module, nn.Linear)), default=0)
        width = model.embed_dim
        tokens = model.patch_embed.num_patches + model.num_prefix_tokens
        return 4 * int(tokens * max(6 * width, 2 * width + 2 * hidden))


def _embed(model: Any, images: Tensor, size: tuple[int, int]) -> Tensor:
    """images (N, C, H, W) of another size than the model's -> tokens (N, tokens, width), with resampled positions.

    What timm's `_pos_embed` does, whose position embeddings are of the model's own size. Differentiable.
    """
    embed = model.patch_embed
    grid = [side // step for side, step in zip(size, embed.patch_size, strict=True)]
    x = embed.norm(embed.proj(images).flatten(2).transpose(1, 2))
    prefix = [token.expand(len(x), -1, -1) for token in (model.cls_token, model.reg_token) if token is not None]
    if model.pos_embed is None:
        return torch.cat([*prefix, x], dim=1)
    before = 0 if model.no_embed_class else model.num_prefix_tokens
    positions = resample_abs_pos_embed(
        model.pos_embed, new_size=grid, old_size=list(embed.grid_size), num_prefix_tokens=before
    )
    embedded = [*prefix, x + positions] if model.no_embed_class else [torch.cat([*prefix, x], dim=1) + positions]
    result: Tensor = model.pos_drop(torch.cat(embedded, dim=1))
    return result


def plain_structure(model: VisionTransformer, layout: Layout = "auxiliary") -> tuple[Structure | None, str]:
    """Return what a plain ViT computes, or None with the reason why a graph writer cannot know it.

    layout  of the model: where its final norm is
    """
    block: Any = model.blocks[0]
    final, other = (model.norm, model.fc_norm) if layout == "auxiliary" else (model.fc_norm, model.norm)
    embed: Any = model.patch_embed
    checks = {
        "its blocks are not timm's plain ones": type(block) is Block
        and type(block.attn) is Attention
        and type(block.mlp) is Mlp,
        "its patch embedding is not timm's plain one": type(embed) is PatchEmbed and isinstance(embed.norm, nn.Identity),
        f"its final norm does not {'precede' if layout == 'auxiliary' else 'follow'} pooling": isinstance(
            final, nn.LayerNorm
        )
        and isinstance(other, nn.Identity),
        "it pools in another way": model.global_pool in ("avg", "token") and not model.pool_include_prefix,
        "it has no linear head": isinstance(model.head, nn.Linear) and model.head.bias is not None
        if model.num_classes
        else isinstance(model.head, nn.Identity),
        "it takes images of any size": not model.dynamic_img_size,
        "its patches do not divide its images": not any(
            size % patch for size, patch in zip(embed.img_size, embed.patch_size, strict=True)
        ),
    }
    for reason, passed in checks.items():
        if not passed:
            return None, reason
    attention, mlp = block.attn, block.mlp
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    checks = {
        "it normalises queries, keys or inner layers": isinstance(attention.q_norm, nn.Identity)
        and isinstance(getattr(attention, "norm", nn.Identity()), nn.Identity)
        and isinstance(mlp.norm, nn.Identity),
        "its attention gates or scales otherwise": attention.scale == attention.head_dim**-0.5,
        "its MLP does not use the exact GELU": type(mlp.act) is nn.GELU and mlp.act.approximate == "none",
        "its linear maps have no bias": attention.proj.bias is not None and mlp.fc1.bias is not None,
        "its LayerNorms differ": len({norm.eps for norm in norms}) == 1 and all(norm.bias is not None for norm in norms),
    }
    for reason, passed in checks.items():
        if not passed:
            return None, reason
    position: Literal["all", "patches", "none"] = "patches" if model.no_embed_class else "all"
    structure = Structure(
        image_size=cast(tuple[int, int], tuple(embed.img_size)),
        patch_size=cast(tuple[int, int], tuple(embed.patch_size)),
        channels=model.in_chans,
        width=model.embed_dim,
        heads=attention.num_heads,
        hidden=mlp.fc1.out_features,
        class_token=model.has_class_token,
        registers=model.num_reg_tokens,
        position="none" if model.pos_embed is None else position,
        patch_bias=embed.proj.bias is not None,
        qkv_bias=attention.qkv.bias is not None,
        layer_scale=not isinstance(block.ls1, nn.Identity),
        pre_norm=isinstance(model.norm_pre, nn.LayerNorm),
        pool=cast(Literal["avg", "token"], model.global_pool),
        eps=norms[0].eps,
    )
    return structure, ""


def arguments_between(implied: Structure, wanted: Structure) -> dict[str, Any]:
    """Return the arguments of `timm.create_model` with which a name that means one structure makes another.

    Class token and pooling are not among them: `describe` takes those as they are given.
    """
    pairs: dict[str, tuple[Any, Any, Any]] = {
        # argument: what is wanted, what the name means, the argument's value
        "img_size": (wanted.image_size, implied.image_size, image_argument(wanted.image_size)),
        "patch_size": (wanted.patch_size, implied.patch_size, image_argument(wanted.patch_size)),
        "in_chans": (wanted.channels, implied.channels, wanted.channels),
        "embed_dim": (wanted.width, implied.width, wanted.width),
        "num_heads": (wanted.heads, implied.heads, wanted.heads),
        "mlp_ratio": (wanted.hidden * implied.width, implied.hidden * wanted.width, wanted.hidden / wanted.width),
        "qkv_bias": (wanted.qkv_bias, implied.qkv_bias, wanted.qkv_bias),
        "init_values": (wanted.layer_scale, implied.layer_scale, 1e-5 if wanted.layer_scale else None),
        "pre_norm": (wanted.pre_norm, implied.pre_norm, wanted.pre_norm),
        "reg_tokens": (wanted.registers, implied.registers, wanted.registers),
        "no_embed_class": (wanted.position, implied.position, wanted.position == "patches"),
    }
    return {argument: value for argument, (mine, theirs, value) in pairs.items() if mine != theirs}
