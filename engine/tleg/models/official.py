"""The paper's own checkpoints: from the auxiliary model of the official TLEG code to a learngene file.

That code stores theta_B as '…instances.0.weight_base' and theta_A as '…instances.0.weight_ilayer'. A checkpoint is read with
weights_only=True and nothing on the allow-list but argparse.Namespace, which holds the training options: no code in it runs.
"""

import argparse
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from tleg.errors import FileFormatError, InputError
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import MAX_DEPTH, Basis
from tleg.learngene.expansion import Array
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.learngene.structure import PLAIN_VIT
from tleg.models.architecture import describe
from tleg.models.flops import measure
from tleg.models.learngene import Learngene
from tleg.models.plain_vit import arguments_between
from tleg.models.weights import read_checkpoint

# The blocks of the official code use torch's default, whatever its configuration says.
OFFICIAL_EPS: Final = 1e-5
# Every factory of the official code that has no _L… in its name builds this many layers.
OFFICIAL_DEPTH: Final = 12
# Width and heads of the sizes that DeiT names.
SIZES: Final[Mapping[str, tuple[int, int]]] = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_TERM = re.compile(r"blocks\.block\.(?P<module>.+)\.instances\.0\.(?P<kind>weight|bias)_(?P<term>base|ilayer)")
_MODEL_NAME = re.compile(r"aux_deit_(?P<size>tiny|small|base)_\w*?(_L(?P<depth>\d+))?", re.IGNORECASE)
_MARK = ".instances."
_NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    state: Mapping[str, Tensor]
    recorded: Mapping[str, Any]
    epoch: int | None


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What the shapes of the tensors say."""

    width: int
    hidden: int
    channels: int
    patch_size: tuple[int, int]
    image_size: tuple[int, int]
    classes: int
    qkv_bias: bool


def import_official(
    path: str | os.PathLike[str],
    *,
    heads: int | None = None,
    architecture: str | None = None,
    auxiliary_depth: int | None = None,
) -> Learngene:
    """Return the learngene in a checkpoint of the official auxiliary model.

    heads            of the attention; None takes them from the recorded model name when its width is this model's
    architecture     timm's name of the ViT; None takes DeiT's of the same width
    auxiliary_depth  None takes it from the recorded options or model name

    Raises InputError when the file cannot be read or something must be said that it does not record, and FileFormatError
    when it is something else, holds code, or its tensors are not those of an auxiliary model.
    """
    path = Path(path)
    checkpoint = _read(path)
    try:
        sizes = _sizes(checkpoint.state)
        chosen_depth = _auxiliary_depth(auxiliary_depth, checkpoint.recorded)
        chosen = _architecture(architecture, sizes, heads, checkpoint.recorded)
        _check_names(checkpoint.state, chosen)
        header = LearngeneHeader(
            architecture=chosen,
            basis=Basis("linear"),
            auxiliary=Auxiliary(chosen_depth),
            preprocessing=_preprocessing(sizes.channels, checkpoint.recorded),
            cost=measure(chosen),
            learned=_learned(path, checkpoint),
        )
        learngene = Learngene(header, _tensors(checkpoint.state))
        learngene.verify()
    except FileFormatError as error:
        raise FileFormatError(f"{path} cannot be imported: {error}") from error
    return learngene


def _read(path: Path) -> _Checkpoint:
    document = read_checkpoint(path)
    state = document.get("model", document) if isinstance(document, Mapping) else None
    if not isinstance(state, Mapping) or not any(_MARK in str(name) for name in state):
        raise FileFormatError(
            f"{path} is not an auxiliary model of the official TLEG code: it has no "
            "'blocks.block.attn.qkv.instances.0.weight_ilayer' or the like"
        )
    strangers = [str(name) for name, value in state.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if strangers:
        raise FileFormatError(f"{path} cannot be imported: {_listed(strangers)} are not tensors")
    if all(name.startswith("module.") for name in state):  # Saved from within DistributedDataParallel.
        state = {name.removeprefix("module."): value for name, value in state.items()}
    options, epoch = document.get("args"), document.get("epoch")
    recorded = vars(options) if isinstance(options, argparse.Namespace) else options if isinstance(options, Mapping) else {}
    return _Checkpoint(
        cast(Mapping[str, Tensor], state),
        {str(name): _json_value(value) for name, value in recorded.items()},
        epoch if type(epoch) is int else None,
    )


def _sizes(state: Mapping[str, Tensor]) -> _Sizes:
    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in state:
            raise FileFormatError(f"'{name}' is missing")
        if state[name].dim() != dimensions or 0 in state[name].shape:
            raise FileFormatError(f"'{name}' has shape {list(state[name].shape)}; {dimensions} dimensions were expected")
        return tuple(state[name].shape)

    width, channels, *patch = shape("patch_embed.proj.weight", 4)
    tokens = shape("pos_embed", 3)[1]
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise FileFormatError(f"{tokens} position embeddings do not form a square of patches")
    first = "blocks.block.{}.instances.0.{}_base"
    return _Sizes(
        width=width,
        hidden=shape(first.format("mlp.fc1", "weight"), 2)[0],
        channels=channels,
        patch_size=(patch[0], patch[1]),
        image_size=(side * patch[0], side * patch[1]),
        classes=shape("head.weight", 2)[0],
        qkv_bias=first.format("attn.qkv", "bias") in state,
    )


def _auxiliary_depth(given: int | None, recorded: Mapping[str, Any]) -> int:
    if given is not None:
        if not 1 <= given <= MAX_DEPTH:
            raise InputError(
                f"--auxiliary-depth is 1 to {MAX_DEPTH}, not {given}", field="auxiliary-depth", code="out-of-range"
            )
        return given
    for name in ("depth", "num_layers"):
        value = recorded.get(name)
        if type(value) is int and 1 <= value <= MAX_DEPTH:
            return value
    match = _MODEL_NAME.fullmatch(str(recorded.get("model", "")))
    depth = int(match["depth"] or OFFICIAL_DEPTH) if match else 0
    if not 1 <= depth <= MAX_DEPTH:
        raise InputError(
            "the checkpoint does not record how many layers its auxiliary model had: add --auxiliary-depth",
            field="auxiliary-depth",
            code="missing",
        )
    return depth


def _architecture(name: str | None, sizes: _Sizes, heads: int | None, recorded: Mapping[str, Any]) -> Architecture:
    """The ViT that fits the sizes: timm's name with whatever arguments differ from what the name means."""
    fitting = next((size for size, (width, _) in SIZES.items() if width == sizes.width), "tiny")
    described = describe(name or f"deit_{fitting}_patch16_224", None, sizes.classes)
    implied = described.structure
    if implied is None:
        raise InputError(
            f"'{name}' is not a plain ViT, and the official auxiliary models are: choose another --architecture",
            field="architecture",
            code="unsupported",
        )
    if heads is None:
        heads = _recorded_heads(sizes.width, recorded)
    if heads is None and name is not None and implied.width == sizes.width:
        heads = implied.heads
    if heads is None:
        raise InputError(
            f"the checkpoint does not record how many attention heads its width of {sizes.width} has: add --heads",
            field="heads",
            code="missing",
        )
    if heads < 1 or sizes.width % heads:
        raise InputError(
            f"a width of {sizes.width} does not divide into {heads} heads: check --heads", field="heads", code="out-of-range"
        )
    wanted = replace(
        implied,
        image_size=sizes.image_size,
        patch_size=sizes.patch_size,
        channels=sizes.channels,
        width=sizes.width,
        heads=heads,
        hidden=sizes.hidden,
        qkv_bias=sizes.qkv_bias,
    )
    arguments = arguments_between(implied, wanted)
    chosen = describe(described.name, arguments, sizes.classes) if arguments else described
    structure = chosen.structure
    if structure is None:
        raise InputError(
            f"'{described.name}' with the sizes of this checkpoint is not a plain ViT",
            field="architecture",
            code="unsupported",
        )
    return replace(chosen, eps=OFFICIAL_EPS, structure=replace(structure, eps=OFFICIAL_EPS))


def _recorded_heads(width: int, recorded: Mapping[str, Any]) -> int | None:
    """The heads that the recorded model name means; None when there is none, or it means another width."""
    match = _MODEL_NAME.fullmatch(str(recorded.get("model", "")))
    named_width, heads = SIZES[match["size"].lower()] if match else (0, 0)
    return heads if named_width == width else None


def _check_names(state: Mapping[str, Tensor], architecture: Architecture) -> None:
    """Compare names and shapes with the architecture's, strictly. Raises FileFormatError that lists every difference."""
    assert architecture.structure is not None  # _architecture refuses others.
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in PLAIN_VIT.shapes(architecture.structure, architecture.num_classes).items():
        if (place := PLAIN_VIT.place(name)) is not None:
            module, _, kind = place.inner.rpartition(".")
            for term in ("base", "ilayer"):
                expected[f"blocks.block.{module}.instances.0.{kind}_{term}"] = shape
        else:
            expected[name] = shape
    problems = []
    if missing := sorted(expected.keys() - state.keys()):
        problems.append(f"missing: {_listed(missing)}")
    if unexpected := sorted(state.keys() - expected.keys()):
        problems.append(f"unexpected: {_listed(unexpected)}")
    misshapen = [
        f"{name} {list(state[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if misshapen:
        problems.append(f"misshapen: {_listed(misshapen)}")
    if problems:
        raise FileFormatError("; ".join(problems))
    others = sorted({str(value.dtype) for value in state.values() if not value.dtype.is_floating_point})
    if others:
        raise FileFormatError(f"it holds tensors of type {', '.join(others)}; weights are floating-point numbers")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _tensors(state: Mapping[str, Tensor]) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for name, value in state.items():
        match = _TERM.fullmatch(name)
        if match is None:
            tensors[name] = _array(value)
        elif match["term"] == "base":
            other = state[name.removesuffix("base") + "ilayer"]
            tensors[PLAIN_VIT.block_name(0, f"{match['module']}.{match['kind']}")] = np.stack([_array(value), _array(other)])
    return tensors


def _array(value: Tensor) -> Array:
    return np.array(value.detach().to(torch.float32).numpy(), np.float32, order="C")


def _preprocessing(channels: int, recorded: Mapping[str, Any]) -> Preprocessing:
    """What was recorded, else what the official code does: ImageNet's statistics, bicubic, a centre crop of 0.875."""
    crop = recorded.get("eval_crop_ratio")
    crop = float(crop) if isinstance(crop, int | float) and 0 < crop <= 1 else 0.875
    mean, std = (_statistics(recorded.get(name), channels) for name in ("mean", "std"))
    if mean and std and min(std) > 0:
        return Preprocessing(mean, std, crop_pct=crop, exif=False)
    if channels == 3:
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD, crop_pct=crop, exif=False)
    return Preprocessing((0.5,) * channels, (0.5,) * channels, crop_pct=crop, exif=False)


def _statistics(value: Any, channels: int) -> tuple[float, ...]:
    """A recorded mean or std with one number for each channel; empty when it is something else."""
    if not isinstance(value, list) or len(value) != channels or not all(type(item) in (int, float) for item in value):
        return ()
    return tuple(map(float, value))


def _learned(path: Path, checkpoint: _Checkpoint) -> dict[str, Any]:
    learned: dict[str, Any] = {"method": "imported", "from": "a checkpoint of the official TLEG code", "file": path.name}
    if checkpoint.epoch is not None:
        learned["epoch"] = checkpoint.epoch
    return {**learned, "recorded": dict(checkpoint.recorded)}


def _json_value(value: object) -> Any:
    """A recorded option as JSON has it; what JSON has not, as text."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _json_value(item) for name, item in value.items()}
    return str(value) if not isinstance(value, Tensor) else f"tensor of shape {list(value.shape)}"
