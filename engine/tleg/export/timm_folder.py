"""PyTorch export: a folder that timm loads in one line.

    timm.create_model("local-dir:PATH", pretrained=True)

It holds model.safetensors and config.json, in the form that `timm.models.save_for_hf` writes and timm's hub loader reads
(timm 1.0, `timm.models._hub`); timm needs no tleg to load it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import ExportError, FileFormatError, InputError
from tleg.header import TIMM_EPS, Architecture, Layout, Preprocessing, Structure

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
# timm's config is JSON, so a LayerNorm's eps cannot be stated in it. Its names imply one: this one 1e-5, most others 1e-6.
_EPS_1E5_NAME: Final = "vit_base_patch16_clip_224"


def save_timm_folder(
    folder: Path,
    tensors: Mapping[str, NDArray[Any]],
    architecture: Architecture,
    depth: int | None,
    *,
    preprocessing: Preprocessing,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    classes: tuple[str, ...] = (),
) -> None:
    """Write weights and config of a model into an existing folder.

    tensors      the model's whole state by timm's names, in the layout given, float32 or float16
    depth        of a descendant; None when the architecture is that of another timm model and takes no depth
    classes      names in the order of the head's outputs, or empty

    Raises ExportError when timm's config cannot express the model, OSError when the disk refuses.
    """
    from safetensors.numpy import save_file

    config = timm_config(
        architecture, depth, preprocessing=preprocessing, layout=layout, num_classes=num_classes, classes=classes
    )
    contiguous = {name: np.asarray(values, order="C") for name, values in tensors.items()}
    save_file(contiguous, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def timm_config(
    architecture: Architecture,
    depth: int | None,
    *,
    preprocessing: Preprocessing,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    classes: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the contents of config.json. See `save_timm_folder`."""
    if num_classes is not None:
        architecture = replace(architecture, num_classes=num_classes)
    architecture = architecture.in_layout(layout)
    name, arguments = architecture.name, dict(architecture.arguments)
    if architecture.eps is not None:
        if architecture.structure is None or architecture.eps not in (TIMM_EPS, 1e-5):
            raise ExportError(f"timm's config cannot state a LayerNorm eps of {architecture.eps}; export to ONNX instead")
        if architecture.eps == 1e-5:
            name, arguments = _EPS_1E5_NAME, _complete_arguments(architecture.structure)
    if layout == "official":
        arguments["fc_norm"] = True
    if depth is not None:
        arguments["depth"] = depth
    pretrained = {
        "input_size": list(architecture.input_size),
        # Where it is true, timm passes input_size to the model as img_size, which only models of one size take.
        "fixed_input_size": architecture.structure is not None or "img_size" in arguments,
        "interpolation": preprocessing.interpolation,
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": preprocessing.crop_mode,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "num_classes": architecture.num_classes,
        "custom_load": False,
    }
    config: dict[str, Any] = {"architecture": name, "num_classes": architecture.num_classes}
    if classes:
        config["label_names"] = list(classes)
        pretrained["label_names"] = list(classes)
    if depth is not None:
        pretrained |= {"first_conv": "patch_embed.proj", "classifier": "head"}
    return {**config, "model_args": arguments, "pretrained_cfg": pretrained}


def _complete_arguments(structure: Structure) -> dict[str, Any]:
    """Every argument of a plain ViT, so that nothing is left to what a name implies."""
    return {
        "img_size": list(structure.image_size),
        "patch_size": list(structure.patch_size),
        "in_chans": structure.channels,
        "embed_dim": structure.width,
        "num_heads": structure.heads,
        "mlp_ratio": structure.hidden / structure.width,
        "qkv_bias": structure.qkv_bias,
        "init_values": 1e-5 if structure.layer_scale else None,
        "class_token": structure.class_token,
        "reg_tokens": structure.registers,
        "no_embed_class": structure.position == "patches",
        "pos_embed": "none" if structure.position == "none" else "learn",
        "pre_norm": structure.pre_norm,
        "global_pool": structure.pool,
        "fc_norm": False,
    }


def read_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a timm folder. Raises InputError or FileFormatError."""
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} holds no {CONFIG} and {WEIGHTS}, so it is not a folder that timm loads")
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot read {folder / CONFIG}: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise FileFormatError(f"{folder / CONFIG} names no architecture")
    return config


def preprocessing_of(config: Mapping[str, Any], channels: int) -> Preprocessing:
    """Return the preprocessing that a timm config states, for a model of so many channels. Raises InputError."""
    mean, std = tuple(config["mean"]), tuple(config["std"])
    if len(mean) != channels:
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    interpolation: Any = config.get("interpolation", "bicubic")
    crop_mode: Any = config.get("crop_mode") or "center"
    if interpolation not in ("bicubic", "bilinear", "nearest", "lanczos"):
        raise InputError(f"tleg knows no interpolation '{interpolation}'")
    if crop_mode not in ("center", "squash", "border"):
        raise InputError(f"tleg knows no crop mode '{crop_mode}'")
    return Preprocessing(mean, std, interpolation, float(config.get("crop_pct") or 0.875), crop_mode)


def load_timm_folder(folder: Path) -> Any:
    """Return the model of a timm folder, in eval mode. Raises InputError or FileFormatError."""
    import timm

    read_config(folder)
    try:
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    except Exception as error:  # timm and safetensors report what does not fit in many ways.
        raise FileFormatError(f"timm cannot load {folder}: {' '.join(str(error).split())}") from error
