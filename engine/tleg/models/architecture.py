"""Architectures: which of timm's models can be expanded, and how they are built.

What a family is stands in `tleg.learngene.structure`, how timm builds it in `tleg.models.timm_family`. A model that fits
none is refused with the reason.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from tleg.errors import ArchitectureError, closest_name, did_you_mean, first_line
from tleg.learngene.architecture import Architecture, Layout
from tleg.learngene.families import family_covering, register
from tleg.learngene.profile import Depth, Profile, checked
from tleg.learngene.structure import Family
from tleg.models.creation import create_model
from tleg.models.hiera import TimmHiera
from tleg.models.plain_vit import TimmPlainVit
from tleg.models.timm_family import TimmFamily
from tleg.models.timm_folder import image_argument, quiet_timm
from tleg.models.without_values import without_values


def timm_family_of(architecture: Architecture) -> TimmFamily:
    """Return the family of an architecture, with how timm builds it. Raises ArchitectureError."""
    return _built_by_timm(architecture.name)


def _built_by_timm(name: str) -> TimmFamily:
    family = family_covering(name)
    if not isinstance(family, TimmFamily):
        # Most families are built as any model of timm: what is known without timm is all that there is to say.
        family = _with_timm(family)
        register(family)
    return family


def _with_timm(family: Family) -> TimmFamily:
    light = type(family)
    return cast(TimmFamily, type(f"Timm{light.__name__}", (light, TimmFamily), {"__doc__": light.__doc__})())


def describe(name: str, arguments: Mapping[str, Any] | None = None, num_classes: int = 1000) -> Architecture:
    """Return the architecture that `timm.create_model(name, **arguments)` means, in the auxiliary layout.

    A plain ViT has no class token unless `class_token=True` asks for one, and its final norm precedes average pooling; a
    class token is pooled, unless `global_pool` says otherwise.

    Raises ArchitectureError, with the reason, when timm does not know the name, or the model cannot be expanded.
    """
    tagged, name = name, normalise_name(name)
    given = {**_implied_by_tag(tagged), **(arguments or {})}
    family = _built_by_timm(name)
    # Depths that are given are those of the stages that are not elastic. One stage alone is elastic.
    several = len(family.stages) > 1
    chosen = set(family.depth_arguments((1,) * len(family.stages)))
    if {"num_classes", *(() if several else chosen)} & set(given):
        raise ArchitectureError(
            f"{'' if several else 'depth and '}num_classes {'is' if several else 'are'} chosen when a descendant is built; "
            "leave them out here",
            field="model-arg",
            code="conflict",
        )
    architecture = Architecture(
        name,
        family.auxiliary_arguments({key: value for key, value in given.items() if key not in chosen}),
        num_classes,
        (1, 1, 1),
    )
    with without_values():
        if several:
            made = _create(family, architecture, {key: given[key] for key in chosen & set(given)})
            stages = family.counted(made)
            if 0 in stages:
                empty = stages.index(0)
                after = f" after its first {family.stages[empty].first}" if family.stages[empty].first else ""
                raise ArchitectureError(f"stage {empty} has no blocks{after}", field="model-arg", code="out-of-range")
            # At timm's own depths: what comes after every sixth block is not seen in two.
            family.check_blocks(made, name, stages)
            architecture = replace(architecture, stages=stages, elastic=stages.index(max(stages)))
        model = _create(family, architecture, family.depth_arguments(architecture.profile(2)))
        found = family.examine(model, architecture)
        if several:
            _check_rest(family, name, made, model)
        if found.structure is None:
            deeper = _create(family, architecture, family.depth_arguments(architecture.profile(3)))
            _check_rest(family, name, model, deeper)
    return found


def _check_rest(family: TimmFamily, name: str, *models: nn.Module) -> None:
    """Refuse models that keep something for each layer outside of the layers. Raises ArchitectureError."""
    first, second = (
        {key: value.shape for key, value in family.state_by_stages(model).items() if not family.is_block(key)}
        for model in models
    )
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            raise ArchitectureError(f"'{key}' of '{name}' depends on the number of layers, so no rule can expand it")


def _implied_by_tag(name: str) -> dict[str, Any]:
    """The image size that the weights which a tag names are for, where it is not what the name alone implies."""
    own, default = (timm.get_pretrained_cfg(each, allow_unregistered=True) for each in (name, name.partition(".")[0]))
    if own is None or default is None or not own.fixed_input_size or own.input_size == default.input_size:
        return {}
    return {"img_size": list(own.input_size[1:])}


def build(
    architecture: Architecture,
    depth: Depth,
    *,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    device: Literal["cpu", "meta"] = "cpu",
    drop_path: float = 0.0,
) -> VisionTransformer:
    """Return a new model of an architecture, of timm's own class, with timm's initial weights (on 'meta' without any).

    depth   of a descendant, or the number of blocks in each stage
    device  'meta' makes parameters without values; what is no parameter has its values there as well

    Raises DepthError, and ArchitectureError when the layout does not apply or this timm builds something else.
    """
    family = timm_family_of(architecture)
    profile = architecture.profile(checked(depth))
    context: AbstractContextManager[Any] = without_values() if device == "meta" else nullcontext()
    if num_classes is not None:
        architecture = replace(architecture, num_classes=num_classes)
    family.check_layout(architecture, layout)
    depths = family.depth_arguments(profile)
    with context:
        model = _create(family, architecture.in_layout(layout), depths, layout=layout, drop_path=drop_path)
    if device == "meta":
        _fill_buffers(family, architecture, model, profile)
    return model


def _fill_buffers(family: TimmFamily, architecture: Architecture, model: nn.Module, profile: Profile) -> None:
    """Give masks, indices and tables that timm computes their values in a model on 'meta'."""
    empty = [name for name, value in model.named_buffers() if value.is_meta]
    if not empty:
        return
    about = json.dumps([architecture.name, dict(architecture.arguments), architecture.stages, architecture.elastic])
    values = _buffers(about, architecture.eps)
    for name in empty:
        holder, _, own = name.rpartition(".")
        staged = family.staged_name(name, profile)
        place = family.place(staged)
        if place is not None:
            layer, _, inner = place.inner.partition(".")
            stage = family.stages[place.stage]
            # They are the same at all depths, and repeat within a stage.
            number = stage.first + (int(layer) - stage.first) % (stage.period * stage.group)
            value = values[f"{stage.prefix}{number}.{inner}"]
        else:
            value = values[staged]
        setattr(model.get_submodule(holder), own, value.clone())


@lru_cache(maxsize=16)
def _buffers(about: str, eps: float | None) -> dict[str, Tensor]:
    """The buffers of a small model of an architecture, named by stages. timm draws weights for it, so they are kept.

    about  its name, arguments, stages and elastic stage as JSON
    """
    name, arguments, stages, elastic = json.loads(about)
    architecture = Architecture(name, arguments, 1, (1, 1, 1), eps, None, tuple(stages), elastic)
    family = timm_family_of(architecture)
    with torch.random.fork_rng(devices=[]):
        small = _create(family, architecture, family.depth_arguments(family.periods))
    return {family.staged_name(key, family.periods): value for key, value in small.named_buffers()}


def with_image_size(architecture: Architecture, image_size: tuple[int, int]) -> Architecture:
    """Return the architecture with inputs of another height and width.

    Raises ArchitectureError when timm builds none of that size.
    """
    family = timm_family_of(architecture)
    arguments = {**architecture.arguments, "img_size": image_argument(image_size)}
    resized = replace(architecture, arguments=arguments, structure=None)
    try:
        with without_values():
            return family.examine(_create(family, resized, family.depth_arguments(resized.profile(2))), resized)
    except ArchitectureError as error:
        raise ArchitectureError(f"'{architecture.name}': {error.message}", field="image-size", code=error.code) from error


def load_state(architecture: Architecture, profile: Profile, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of timm's model that loads a state, which may be that of a model for images of another size.

    Strict: ArchitectureError says what does not fit.
    """
    family = timm_family_of(architecture)
    # A first convolution of other channels than three would be converted, and a head of other classes left out.
    known = {"state_dict": dict(state), "num_classes": architecture.num_classes, "label_offset": 0, "first_conv": None}
    loading = {"pretrained": True, "pretrained_cfg_overlay": {**known, "custom_load": False}}
    with torch.random.fork_rng(devices=[]), quiet_timm():
        model = _create(family, architecture, {**family.depth_arguments(profile), **loading})
    return dict(model.state_dict())


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
    depths: Mapping[str, Any],
    *,
    layout: Layout = "auxiliary",
    drop_path: float = 0.0,
) -> VisionTransformer:
    # The name may come from a file. timm would download 'hf-hub:somebody/something'; a name of its own stays here.
    if not timm.is_model(architecture.name):
        raise ArchitectureError(f"this timm ({timm.__version__}) has no model '{architecture.name}'", code="unknown-name")
    arguments = {
        **family.timm_arguments(architecture.arguments),
        **family.layout_arguments(layout),
        **family.options(architecture),
        **depths,
        # Some families of timm have one of their own, which would be in every training.
        "drop_path_rate": drop_path,
    }
    try:
        model = create_model(architecture.name, num_classes=architecture.num_classes, **arguments)
    except Exception as error:  # timm reports what does not fit in many ways: TypeError, assertions, RuntimeError.
        raise ArchitectureError(family.refusal(architecture, first_line(error))) from error
    # The class that all families of today are built as.
    return cast(VisionTransformer, model)


for _family in (TimmPlainVit(), TimmHiera()):
    register(_family)
