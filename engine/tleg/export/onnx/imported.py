"""`tleg import FILE.onnx`: a plain ViT in an ONNX file becomes a folder that timm loads, checked against the file itself.

What was read is believed when timm's model gives the values that ONNX Runtime computes from the file: after the final norm,
and those of the head where there is one, on an image of noise.
"""

import copy
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from tleg.errors import ArchitectureError, FileFormatError, InputError, VerificationError, concerning, last_words
from tleg.export.onnx.reading import VitInOnnx, load_graph, read_vit
from tleg.files import check_folder, new_folder
from tleg.learngene.architecture import Architecture
from tleg.learngene.container import open_binary
from tleg.learngene.families import family_covering
from tleg.models.architecture import describe, timm_family_of
from tleg.models.creation import create_model
from tleg.models.plain_vit import arguments_between
from tleg.models.timm_folder import preprocessing_of, timm_config, write_timm_folder

# The largest difference that rounding makes, as a part of the largest value.
TOLERANCE: Final = 1e-3
# Of LayerNorms, which timm's names can say beside their usual 1e-6. What is smaller makes no difference.
_OTHER_EPS: Final = 1e-5
_SIZES: Final[Mapping[int, str]] = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}


@dataclass(frozen=True, slots=True)
class OnnxImport:
    """What became of an ONNX file.

    output        the folder
    architecture  timm's name, and the arguments with which its model is that of the file
    num_classes   0 for a backbone without a head
    compared      what of the file's own was compared: 'features' (N, tokens, width), or 'logits' as well
    difference    the largest absolute difference to it on an image of noise; `largest` is the largest absolute value
    """

    output: str
    architecture: str
    arguments: Mapping[str, Any]
    depth: int
    width: int
    heads: int
    image_size: tuple[int, int]
    num_classes: int
    tensors: int
    compared: tuple[str, ...]
    difference: float
    largest: float


def import_onnx(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    overwrite: bool = False,
) -> OnnxImport:
    """Write the plain ViT in an ONNX file as a folder that timm loads.

    architecture  timm's name of it, which also says how images are normalised; None takes the one of its sizes

    Raises InputError when the folder may not be written, or the name is of another model; FileFormatError for a file that
    holds no such ViT; VerificationError when timm's model computes something else than the file.
    """
    path, target = Path(path), Path(output)
    check_folder(target, overwrite=overwrite)
    open_binary(path).close()
    graph = load_graph(path)
    found = read_vit(graph, str(path))
    side = round(found.positions**0.5)
    if side * side != found.positions:
        raise FileFormatError(f"{path} has position embeddings of {found.positions} patches, which form no square")
    size = (side * found.patch_size[0], side * found.patch_size[1])
    theirs, heads = _run(graph, found, size, str(path))
    described = _architecture(architecture, found, heads, size)
    arguments = {**described.arguments, "depth": found.depth}
    options = timm_family_of(described).options(described)
    model: Any = create_model(described.name, num_classes=found.classes, **arguments, **options).eval()
    _fill(model, found, described.name, str(path))
    compared, difference, largest = _compare(model, theirs)
    if not difference <= TOLERANCE * largest:
        raise VerificationError(
            f"timm's '{described.name}' with the weights of {path} computes something else: values differ by "
            f"{difference:.3g} where the largest is {largest:.3g}; name another --architecture, or report this file"
        )
    preprocessing = preprocessing_of(dict(model.pretrained_cfg), found.channels)
    config = timm_config(described, found.depth, preprocessing=preprocessing)
    if not found.classes:
        config["num_classes"] = config["pretrained_cfg"]["num_classes"] = 0
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    with new_folder(target, overwrite=overwrite) as folder:
        write_timm_folder(folder, tensors, config)
    return OnnxImport(
        str(target),
        described.name,
        arguments,
        found.depth,
        found.width,
        heads,
        size,
        found.classes,
        len(tensors),
        compared,
        difference,
        largest,
    )


def _run(graph: Any, found: VitInOnnx, size: tuple[int, int], name: str) -> tuple[dict[str, NDArray[np.float32]], int]:
    """What the file computes of noise, and the heads of its attention. Raises FileFormatError.

    At the size that it has position embeddings for, whatever size the file says, so that nothing is interpolated.
    """
    import onnx
    import onnxruntime

    model = copy.deepcopy(graph)
    named = {each.name for each in model.graph.output}
    wanted = [found.pixels, found.softmax, found.features, *([found.logits] if found.logits else [])]
    (pixels,) = (each for each in model.graph.input if each.name not in {item.name for item in model.graph.initializer})
    del model.graph.value_info[:]
    # One image, because files may be made for one at a time.
    for axis, length in enumerate((1, found.channels, *size)):
        pixels.type.tensor_type.shape.dim[axis].dim_value = length
    for each in wanted:
        if each not in named and each != pixels.name:
            kind = pixels.type.tensor_type.elem_type
            model.graph.output.append(onnx.helper.make_tensor_value_info(each, kind, None))
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    images = np.random.default_rng(0).standard_normal((1, found.channels, *size)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        asked = [each for each in wanted if each != pixels.name]
        values = dict(zip(asked, session.run(asked, {pixels.name: images}), strict=True))
    except Exception as error:  # ONNX Runtime has an exception for each of its states.
        height, width = size
        raise FileFormatError(
            f"ONNX Runtime cannot run {name} on images of {height} x {width} pixels, which its position embeddings are for: "
            f"{last_words(error)[:200]}"
        ) from error
    computed = {"features": values[found.features], "pixels": values.get(found.pixels, images)}
    if found.logits:
        computed["logits"] = values[found.logits]
    return computed, int(values[found.softmax].shape[1])


def _architecture(name: str | None, found: VitInOnnx, heads: int, size: tuple[int, int]) -> Architecture:
    """timm's name with the arguments that differ from what it means. Raises InputError, ArchitectureError."""
    chosen = name or _name_of(found)
    prefix = {"class_token": found.class_token, "global_pool": found.pool or ("token" if found.class_token else "avg")}
    if family_covering(chosen) is not family_covering(_name_of(found)):
        raise InputError(f"'{chosen}' is no plain ViT of timm", field="architecture", code="unsupported")
    with concerning("architecture"):
        described = describe(chosen, prefix, max(1, found.classes))
    implied = described.structure
    if implied is None:
        raise InputError(f"'{chosen}' is a ViT that differs from timm's plain one", field="architecture", code="unsupported")
    if name is not None and (implied.width, implied.patch_size) != (found.width, found.patch_size):
        raise InputError(
            f"'{name}' has a width of {implied.width} and patches of {implied.patch_size[0]}, and the file a width of "
            f"{found.width} and patches of {found.patch_size[0]}; leave --architecture out, or name another",
            field="architecture",
            code="mismatch",
        )
    wanted = replace(
        implied,
        image_size=size,
        patch_size=found.patch_size,
        channels=found.channels,
        width=found.width,
        heads=heads,
        hidden=found.hidden,
        registers=0,
        position="all",
        qkv_bias=found.qkv_bias,
        layer_scale=found.layer_scale,
        pre_norm=found.pre_norm,
    )
    differing = arguments_between(implied, wanted)
    if differing:
        described = describe(chosen, {**prefix, **differing}, max(1, found.classes))
    structure = described.structure
    if structure is None or not math.isclose(found.eps, _OTHER_EPS, rel_tol=1e-3) or structure.eps == _OTHER_EPS:
        return described
    return replace(described, eps=_OTHER_EPS, structure=replace(structure, eps=_OTHER_EPS))


def _name_of(found: VitInOnnx) -> str:
    """The timm name that comes closest to the sizes of a model."""
    size, patch = _SIZES.get(found.width, "tiny"), found.patch_size[0]
    endings = ("dinov2", "224") if found.layer_scale and found.class_token else ("224", "dinov2")
    names = [f"vit_{size}_patch{patch}_{ending}" for ending in endings]
    return next((each for each in names if timm.is_model(each)), f"vit_{size}_patch16_224")


def _fill(model: Any, found: VitInOnnx, name: str, path: str) -> None:
    """Load what was read, strictly. Raises ArchitectureError that names what does not fit."""
    state = {key: torch.from_numpy(values) for key, values in found.tensors.items()}
    own = {key: value.shape for key, value in model.state_dict().items()}
    theirs = {key: value.shape for key, value in state.items()}
    wrong = [key for key in sorted(own.keys() | theirs.keys()) if own.get(key) != theirs.get(key)]
    if wrong:
        raise ArchitectureError(
            f"'{name}' has other parameters than {path}: {', '.join(wrong[:4])} differ; name another --architecture",
            field="architecture",
            code="mismatch",
        )
    model.load_state_dict(state, strict=True)


@torch.inference_mode()
def _compare(model: Any, theirs: Mapping[str, NDArray[np.float32]]) -> tuple[tuple[str, ...], float, float]:
    """What was compared, the largest difference, and the largest value of the file's own."""
    features = model.forward_features(torch.from_numpy(theirs["pixels"]))
    # Where the class token alone is pooled, a file may normalise that alone.
    pairs = {"features": features if theirs["features"].ndim == features.ndim else features[:, 0]}
    if "logits" in theirs:
        pairs["logits"] = model.forward_head(features)
    difference = max(float(np.abs(mine.numpy() - theirs[name]).max()) for name, mine in pairs.items())
    return tuple(pairs), difference, max(float(np.abs(theirs[name]).max()) for name in pairs)
