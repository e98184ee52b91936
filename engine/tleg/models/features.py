"""Features of timm's models: pooled vectors, tokens, and the maps after blocks or stages.

All by timm's own methods: `forward_features`, `forward_head(pre_logits=True)` and `forward_intermediates`, which is what its
`features_only` runs as well, without the final norm.
"""

import inspect
from types import MethodType
from typing import Any, Final

import torch
from torch import Tensor, nn

from tleg.errors import InputError
from tleg.models.flops import count_macs
from tleg.models.output import FIELD, Output, OutputCost, OutputRecord

_MAP_DIMENSIONS: Final = 4
_TOKEN_DIMENSIONS: Final = 3


def pooled_features(model: Any, images: Tensor) -> Tensor:
    """images (N, C, H, W), normalised -> the vector before the classifier of a model of timm: (N, size)."""
    features: Tensor = model.forward_head(model.forward_features(images), pre_logits=True)
    return features


def giving(model: Any, output: Output) -> Any:
    """Return the model itself, whose forward pass now gives what is asked for: a tensor, or one for each block or stage.

    images (N, C, H, W) -> see `tleg.models.output`; maps are (N, C, H, W), whatever timm's layout is.
    """
    if not output.of_classes:
        model.forward = MethodType(_FORWARDS[output.kind](output), model)
    return model


def cut_to(model: Any, output: Output) -> Any:
    """Return the model itself without what the features do not need: its classifier, and what follows the last block."""
    if output.places:
        model.prune_intermediate_layers([place - 1 for place in output.places], prune_norm=True, prune_head=True)
    elif not output.of_classes:
        without_classifier(model)
    return model


def without_classifier(model: Any) -> Any:
    """Return the model itself with no classifier, as timm makes it with `num_classes=0`."""
    if model.num_classes:
        model.reset_classifier(0)
    return model


def check_output(model: Any, output: Output, name: str) -> None:
    """Refuse features that a model does not give: blocks of one with stages, or beyond the last. Raises InputError."""
    if not output.places:
        return
    if not hasattr(model, "forward_intermediates"):
        raise InputError(
            f"timm gives no feature maps of {name}; take --output-of pooled or tokens", field=FIELD, code="unsupported"
        )
    unit, count = _levels(model)
    if unit != output.kind:
        other = "has stages, whose blocks timm does not give" if unit == "stages" else "has one stage"
        raise InputError(
            f"{name} {other}: take {unit}:{','.join(map(str, range(1, min(count, 4) + 1)))}", field=FIELD, code="unsupported"
        )
    output.check_places(count, name)


@torch.inference_mode()
def describe_output(model: Any, output: Output, input_size: tuple[int, int, int], name: str) -> tuple[OutputRecord, ...]:
    """Return what a model gives, found on one image without content.

    model  in eval mode and float32, as timm made it

    Raises InputError when it gives no tokens.
    """
    images = torch.zeros(1, *input_size)
    if output.of_classes:
        return (OutputRecord("logits", (int(model.num_classes),), "one logit for each class"),)
    if output.kind == "pooled":
        (found,) = _as_tuple(_pooled(output)(model, images))
        return (OutputRecord("pooled", tuple(found.shape[1:]), "the vector before the classifier"),)
    if output.kind == "tokens":
        return (_describe_tokens(model, images, name),)
    maps = _as_tuple(_maps(output)(model, images))
    one = output.kind.removesuffix("s")
    return tuple(
        OutputRecord(own, tuple(each.shape[1:]), f"the map after {one} {place}, without the final norm")
        for own, place, each in zip(output.names, output.places, maps, strict=True)
    )


def _describe_tokens(model: Any, images: Tensor, name: str) -> OutputRecord:
    features: Any = model.forward_features(images)
    if isinstance(features, Tensor) and features.ndim == _MAP_DIMENSIONS:
        shape = tuple(_tokens(Output("tokens"))(model, images).shape[1:])
        return OutputRecord("tokens", shape, "the map before the pooling: channels, rows, columns")
    if isinstance(features, Tensor) and features.ndim == _TOKEN_DIMENSIONS:
        patches = 0
        if hasattr(model, "forward_intermediates"):
            last = model.forward_intermediates(images, indices=1, intermediates_only=True)[-1]
            patches = last.shape[2] * last.shape[3]
        # What no map comes from tells of its class token alone.
        prefix = features.shape[1] - patches if patches else int(getattr(model, "num_prefix_tokens", 0) or 0)
        if prefix >= 0:
            meaning = "tokens after the last block and the final norm, where the model norms before it pools"
            return OutputRecord("tokens", tuple(features.shape[1:]), meaning, prefix)
    raise InputError(
        f"{name} hands no tokens of patches to its head; take --output-of pooled or stages:1",
        field=FIELD,
        code="unsupported",
    )


def measure_output(model: Any, input_size: tuple[int, int, int]) -> OutputCost:
    """Return what a model costs that was cut to what it gives. MACs are counted as those of learngenes are."""
    macs = count_macs(model, torch.zeros(1, *input_size))[""]
    return OutputCost(sum(value.numel() for value in model.parameters()), macs)


def _levels(model: Any) -> tuple[str, int]:
    """Whether timm counts the model's maps by blocks or by stages, and how many there are."""
    count = len(model.feature_info) if hasattr(model, "feature_info") else 0
    if "coarse" in inspect.signature(model.forward_intermediates).parameters:
        return "stages", len(model.stage_ends)  # One row of blocks, of which timm gives those that end a stage (Hiera).
    blocks: Any = getattr(model, "blocks", None)
    if isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks):
        nested = isinstance(blocks[0], nn.Sequential | nn.ModuleList)
        return ("stages" if nested else "blocks"), len(blocks)
    return "stages", count


def _pooled(output: Output) -> Any:
    return pooled_features


def _tokens(output: Output) -> Any:
    def forward(self: Any, images: Tensor) -> Any:
        features = self.forward_features(images)
        rows_first = features.ndim == _MAP_DIMENSIONS and getattr(self, "output_fmt", "NCHW") == "NHWC"
        return features.permute(0, 3, 1, 2).contiguous() if rows_first else features

    return forward


def _maps(output: Output) -> Any:
    def forward(self: Any, images: Tensor) -> Any:
        # Where timm can stop after the last of them it does.
        known = inspect.signature(self.forward_intermediates).parameters
        options = {"stop_early": True} if "stop_early" in known else {}
        maps = self.forward_intermediates(
            images, indices=[place - 1 for place in output.places], intermediates_only=True, output_fmt="NCHW", **options
        )
        return tuple(maps)

    return forward


def _as_tuple(found: Any) -> tuple[Tensor, ...]:
    return tuple(found) if isinstance(found, tuple | list) else (found,)


_FORWARDS: Final = {"pooled": _pooled, "tokens": _tokens, "blocks": _maps, "stages": _maps}
