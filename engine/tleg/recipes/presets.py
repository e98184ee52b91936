"""Recipes by name. Those of the paper are the official code's commands and defaults (github.com/AlphaXia/TLEG, README and
main.py), as far as they concern the result. `example` names its data and its model, so that it can be tried at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tleg.errors import InputError, did_you_mean
from tleg.recipes import Kind


@dataclass(frozen=True, slots=True)
class Preset:
    """Values by option name, for one kind of training or (kind None) for both."""

    name: str
    kind: Kind | None
    about: str
    values: Mapping[str, Any]


# Four GPUs with 128 images each; 5e-4 for 512 images. The official EMA is left out: it starts from random weights, is too
# slow for these lengths (decay 0.99996) and is never evaluated.
_PAPER: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "batch-size": 512,
        "lr": 5e-4,
        "optimizer": "adamw",
        "minimum-rate": 0.02,
        "weight-decay": 0.05,
        "clip-gradient": 0.0,
        "label-smoothing": 0.1,
        "mixup": 0.8,
        "cutmix": 1.0,
        "auto-augment": "rand-m9-mstd0.5-inc1",
        "random-erasing": 0.25,
        "repeated-augmentation": 3,
        "seed": 123,
        "workers": 8,
    }
)
_AUXILIARY: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **_PAPER,
        "basis": "linear",
        "initial-matrices": "timm",
        "auxiliary-depth": 12,
        "sample-depths": "none",
        "teacher": "levit_384",
        "distillation": "soft",
        "distillation-weight": 1.0,
        "distillation-normalisation": "official",
        "temperature": 1.0,
        "warmup-epochs": 5.0,
        "evaluate-depths": "3-12",
    }
)
_DESCENDANT: Final[Mapping[str, Any]] = MappingProxyType({**_PAPER, "depth": 12, "warmup-epochs": 0.0, "drop-path": 0.1})

# 16 patches of 7 x 7 pixels, 64 wide: a processor trains it in minutes.
_EXAMPLE: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "architecture": "vit_tiny_patch16_224",
        "model-arg": {"patch_size": 7, "embed_dim": 64, "num_heads": 2},
        "data": "fashion-mnist",
        "sample-depths": "3-8",
        "evaluate-depths": "3-12",
        "epochs": 3,
        "lr": 1.5e-3,
        "auto-augment": "none",
        "crop-scale": 0.7,
        "random-erasing": 0.1,
        "checkpoint-minutes": 1.0,
    }
)

_ALL: Final = (
    Preset(
        "example",
        "learn",
        "a small ViT on Fashion-MNIST, complete: trains on a processor in minutes",
        _EXAMPLE,
    ),
    Preset(
        "paper-aux-s",
        "learn",
        "the paper's Aux-S: 150 epochs of ImageNet, distilled from levit_384",
        {**_AUXILIARY, "architecture": "deit_small_patch16_224", "epochs": 150},
    ),
    Preset(
        "paper-aux-b",
        "learn",
        "the paper's Aux-B: 100 epochs of ImageNet, distilled from levit_384",
        {**_AUXILIARY, "architecture": "deit_base_patch16_224", "epochs": 100},
    ),
    Preset("paper-des-s", "finetune", "the paper's Des-S of 12 layers: 35 epochs", {**_DESCENDANT, "epochs": 35}),
    Preset("paper-des-b", "finetune", "the paper's Des-B of 12 layers: 40 epochs", {**_DESCENDANT, "epochs": 40}),
    Preset(
        "quick",
        None,
        "three epochs with light augmentation, to see whether all fits together",
        {"epochs": 3, "auto-augment": "none", "random-erasing": 0.0, "crop-scale": 0.6, "checkpoint-minutes": 1.0},
    ),
)
PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({preset.name: preset for preset in _ALL})


def preset_values(name: str, kind: Kind) -> dict[str, Any]:
    """Return a preset's values. Raises InputError when there is none of that name, or it is of the other kind."""
    if name not in PRESETS:
        raise InputError(
            f"there is no preset '{name}': choose one of {', '.join(PRESETS)}.{did_you_mean(name, PRESETS)}",
            field="preset",
            code="unknown-name",
        )
    preset = PRESETS[name]
    if preset.kind not in (None, kind):
        raise InputError(
            f"the preset {name} is for `tleg {preset.kind}`, not for `tleg {kind}`", field="preset", code="wrong-kind"
        )
    return dict(preset.values)


def presets_of(kind: Kind) -> tuple[Preset, ...]:
    """Return the presets that a kind of training has."""
    return tuple(preset for preset in _ALL if preset.kind in (None, kind))
