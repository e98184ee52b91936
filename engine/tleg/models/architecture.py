"""Families of architectures as timm builds them: which models can be expanded, and what they are made of.

The families of `tleg.learngene.structure`, registered here together with all that needs timm. Today there is one, timm's
plain `VisionTransformer`: deit, vit, deit3, dinov2, with or without class token, registers and layer scale. Everything else
is refused with the reason.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, cast

import timm
import torch
from timm.layers import Attention, LayerNorm, Mlp, PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from tleg.errors import ArchitectureError, closest_name, did_you_mean
from tleg.learngene.basis import check_depth
from tleg.learngene.header import Architecture, Layout, Structure
from tleg.learngene.structure import Family, PlainVit, Profile, family_covering, register
from tleg.models.timm_folder import input_size_of

# Runs the blocks of a stage, by its index, on what comes into it.
RunStage = Callable[[int, Tensor], Tensor]


class _Run(nn.Module):
    """Stands for the blocks of a stage."""

    def __init__(self, run: RunStage, stage: int) -> None:
        super().__init__()
        self._run, self._stage = run, stage

    def forward(self, x: Tensor) -> Tensor:
        return self._run(self._stage, x)


class TimmFamily(Family):
    """A family with how timm builds it. Models are timm's own modules."""

    def auxiliary_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of an auxiliary model: what the family's have, and what was given, which wins."""
        return dict(given)

    def examine(self, model: nn.Module, architecture: Architecture) -> Architecture:
        """Return the architecture of a model with its input size, and its structure where there is one.

        model  on 'meta', of the profile of depth 2

        Raises ArchitectureError, with the reason, when it cannot be expanded.
        """
        self.check_blocks(model, architecture.name, self.profile(2))
        known: Any = getattr(model, "pretrained_cfg", None) or {}
        return replace(architecture, input_size=input_size_of(known, architecture.arguments))

    def refusal(self, architecture: Architecture, reason: str) -> str:
        """Why timm did not build a model, in one line: because of what was asked for, or because it is of no such kind."""
        return f"timm cannot build '{architecture.name}' with these arguments: {reason}"

    def features(self, model: Any, images: Tensor, run: RunStage) -> Tensor:
        """images (N, C, H, W) -> what `model.forward_head` takes, with `run` in place of each stage.

        By timm's own forward pass, whose empty stages are stood in for while it runs.
        """
        try:
            for stage in range(len(self.stages)):
                self._put(model, stage, _Run(run, stage))
            features: Tensor = model.forward_features(images)
        finally:
            for stage in range(len(self.stages)):
                self._put(model, stage, nn.Sequential())
        return features

    def inference_bytes(self, model: Any, input_size: tuple[int, int, int]) -> int:
        """The largest set of float32 activations that are alive at once in a forward pass of one image.

        An estimate: what a block is given, beside the largest input and output of a module inside of it.
        """
        largest = {"block": 0, "module": 0}

        def measure(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            values = given if module in blocks else (*given, result)
            kind = "block" if module in blocks else "module"
            largest[kind] = max(largest[kind], sum(value.numel() for value in values if isinstance(value, Tensor)))

        blocks = [self.blocks(model, stage)[0] for stage in range(len(self.stages))]
        leaves = [module for block in blocks for module in block.modules() if not any(True for _ in module.children())]
        hooks = [module.register_forward_hook(measure) for module in (*blocks, *leaves)]
        try:
            with torch.inference_mode():
                model(torch.zeros(1, *input_size))
        finally:
            for hook in hooks:
                hook.remove()
        return 4 * sum(largest.values())

    def options(self, architecture: Architecture) -> dict[str, Any]:
        """Arguments of `timm.create_model` for what an architecture says outside of its arguments."""
        return {}

    def blocks(self, model: nn.Module, stage: int) -> list[nn.Module]:
        """The blocks of a stage of a model."""
        return list(model.get_submodule(self.stages[stage].prefix.rstrip(".")).children())

    def take_blocks(self, model: nn.Module, stage: int) -> list[nn.Module]:
        """Take the blocks of a stage out of a model, which has none there afterwards."""
        blocks = self.blocks(model, stage)
        self._put(model, stage, nn.Sequential())
        return blocks

    def _put(self, model: nn.Module, stage: int, module: nn.Module) -> None:
        """Put a module in the place of a stage's blocks."""
        holder, _, name = self.stages[stage].prefix.rstrip(".").rpartition(".")
        setattr(model.get_submodule(holder), name, module)

    def check_blocks(self, model: nn.Module, name: str, profile: Profile) -> None:
        """Refuse stages of another number of blocks, and blocks that differ or hold buffers. Raises ArchitectureError."""
        for stage, count in enumerate(profile):
            blocks = self.blocks(model, stage)
            if len(blocks) != count:
                raise ArchitectureError(f"'{name}' ignores its depth argument, so it cannot be expanded")
            shapes = [{key: value.shape for key, value in block.state_dict().items()} for block in blocks]
            if any(each != shapes[0] for each in shapes):
                raise ArchitectureError(f"the blocks of '{name}' differ from each other, so one rule cannot expand them")
            if any(True for block in blocks for _ in block.buffers()):
                raise ArchitectureError(
                    f"the blocks of '{name}' hold buffers besides parameters, which have no rule to expand them"
                )


def timm_family_of(architecture: Architecture) -> TimmFamily:
    """Return the family of an architecture, with how timm builds it. Raises ArchitectureError."""
    return _built_by_timm(architecture.name)


def _built_by_timm(name: str) -> TimmFamily:
    family = family_covering(name)
    if not isinstance(family, TimmFamily):
        raise ArchitectureError(f"nothing says how timm builds the family '{family.name}' of '{name}'")
    return family


def describe(name: str, arguments: Mapping[str, Any] | None = None, num_classes: int = 1000) -> Architecture:
    """Return the architecture that `timm.create_model(name, **arguments)` means, in the auxiliary layout.

    A plain ViT has no class token unless `class_token=True` asks for one, and its final norm precedes average pooling; a
    class token is pooled, unless `global_pool` says otherwise.

    Raises ArchitectureError, with the reason, when timm does not know the name, or the model cannot be expanded.
    """
    tagged, name = name, normalise_name(name)
    given = {**_implied_by_tag(tagged), **(arguments or {})}
    if {"depth", "num_classes"} & set(given):
        raise ArchitectureError(
            "depth and num_classes are chosen when a descendant is built; leave them out here",
            field="model-arg",
            code="conflict",
        )
    family = _built_by_timm(name)
    architecture = Architecture(name, family.auxiliary_arguments(given), num_classes, (1, 1, 1))
    with torch.device("meta"):
        model = _create(family, architecture, family.profile(2))
    return family.examine(model, architecture)


def _implied_by_tag(name: str) -> dict[str, Any]:
    """The image size that the weights which a tag names are for, where it is not what the name alone implies."""
    own, default = (timm.get_pretrained_cfg(each, allow_unregistered=True) for each in (name, name.partition(".")[0]))
    if own is None or default is None or not own.fixed_input_size or own.input_size == default.input_size:
        return {}
    return {"img_size": list(own.input_size[1:])}


def build(
    architecture: Architecture,
    depth: int | Profile,
    *,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    device: Literal["cpu", "meta"] = "cpu",
    drop_path: float = 0.0,
) -> VisionTransformer:
    """Return a new model of an architecture, of timm's own class, with timm's initial weights (on 'meta' without any).

    depth  of a descendant, or the number of blocks in each stage

    Raises DepthError, and ArchitectureError when the layout does not apply or this timm builds something else.
    """
    family = timm_family_of(architecture)
    profile = tuple(map(check_depth, depth)) if isinstance(depth, tuple) else family.profile(check_depth(depth))
    context: AbstractContextManager[Any] = torch.device("meta") if device == "meta" else nullcontext()
    if num_classes is not None:
        architecture = replace(architecture, num_classes=num_classes)
    family.check_layout(architecture, layout)
    with context:
        return _create(family, architecture.in_layout(layout), profile, layout=layout, drop_path=drop_path)


def known_name(name: str) -> str:
    """Return a timm name as it is, with its tag when it has one ('vit_tiny_patch16_224.augreg_in21k').

    Raises ArchitectureError when timm knows no such model, or no such weights of it.
    """
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise ArchitectureError(f"timm has no model '{name}'.{closest_name(base, timm.list_models())}", code="unknown-name")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        known = f"they are called {', '.join(tags)}" if tags else f"write '{base}'"
        raise ArchitectureError(
            f"timm knows no weights '{tag}' of '{base}'; {known}.{did_you_mean(tag, tags)}", code="unknown-name"
        )
    return name


def normalise_name(name: str) -> str:
    """Return a timm name without its tag. Raises ArchitectureError when timm does not know it, or its tag."""
    return known_name(name).partition(".")[0]


def _create(
    family: TimmFamily,
    architecture: Architecture,
    profile: Profile,
    *,
    layout: Layout = "auxiliary",
    drop_path: float = 0.0,
) -> VisionTransformer:
    # The name may come from a file. timm would download 'hf-hub:somebody/something'; a name of its own stays here.
    if not timm.is_model(architecture.name):
        raise ArchitectureError(f"this timm ({timm.__version__}) has no model '{architecture.name}'", code="unknown-name")
    arguments = {
        **architecture.arguments,
        **family.layout_arguments(layout),
        **family.options(architecture),
        **family.depth_arguments(profile),
        **({"drop_path_rate": drop_path} if drop_path else {}),
    }
    try:
        model = timm.create_model(architecture.name, num_classes=architecture.num_classes, **arguments)
    except Exception as error:  # timm reports what does not fit in many ways: TypeError, assertions, RuntimeError.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ArchitectureError(family.refusal(architecture, reason)) from error
    # The class that all families of today are built as.
    return cast(VisionTransformer, model)


class TimmPlainVit(PlainVit, TimmFamily):
    """timm's plain VisionTransformer with a depth argument and equal blocks."""

    # What an auxiliary model has, where timm's own names mean something else.
    defaults: Final[Mapping[str, Any]] = {"class_token": False, "global_pool": "avg", "fc_norm": False}

    def auxiliary_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        pool = {"global_pool": "token"} if given.get("class_token") else {}
        return {**self.defaults, **pool, **given}

    def options(self, architecture: Architecture) -> dict[str, Any]:
        return {} if architecture.eps is None else {"norm_layer": partial(LayerNorm, eps=architecture.eps)}

    def examine(self, model: nn.Module, architecture: Architecture) -> Architecture:
        name = architecture.name
        if type(model) is not VisionTransformer:
            raise ArchitectureError(
                f"'{name}' is a {type(model).__name__}; tleg expands timm's plain VisionTransformer "
                "(deit, vit, deit3, dinov2)"
            )
        self.check_blocks(model, name, self.profile(2))
        embed = cast(PatchEmbed, model.patch_embed)
        height, width = embed.img_size
        patch = embed.patch_size
        if any(size % step for size, step in zip(embed.img_size, patch, strict=True)):
            raise ArchitectureError(
                f"an image of {height} x {width} pixels does not divide into patches of {patch[0]} x {patch[1]}; "
                "choose another patch_size or img_size, as in --model-arg patch_size=4",
                field="model-arg",
                code="out-of-range",
            )
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
        x = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))
        tokens: Tensor = model.norm(run(0, x))
        return tokens

    def inference_bytes(self, model: Any, input_size: tuple[int, int, int]) -> int:
        """In the attention x, its norm, q, k, v and the result; in the MLP x, its norm and the hidden layer before and after
        its activation."""
        block = self.blocks(model, 0)[0]
        hidden = max((module.out_features for module in block.modules() if isinstance(module, nn.Linear)), default=0)
        width = model.embed_dim
        tokens = model.patch_embed.num_patches + model.num_prefix_tokens
        return 4 * int(tokens * max(6 * width, 2 * width + 2 * hidden))


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
        "it has no linear head": isinstance(model.head, nn.Linear) and model.head.bias is not None,
        "it takes images of any size": not model.dynamic_img_size,
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


register(TimmPlainVit())
