"""A timm model from a file of weights: 'levit_384:weights.pth' names the model and the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from tleg.checkpoint import read_checkpoint
from tleg.errors import ArchitectureError, FileFormatError

# Under these keys training code keeps a model's state beside its optimiser's.
_STATE_KEYS = ("state_dict", "model", "model_state_dict")


def split_reference(text: str) -> tuple[str, Path] | None:
    """Return (timm name, file) for 'NAME:FILE', or None when the text is no such reference."""
    name, separator, file = text.partition(":")
    return (name, Path(file)) if separator and file and timm.is_model(name.partition(".")[0]) else None


def load_timm_weights(name: str, file: Path) -> tuple[nn.Module, int]:
    """Return the model with the weights of a .safetensors or .pth file, in eval mode, and its number of classes.

    The number of classes is that of the file's classifier. Loading is strict: FileFormatError names what is missing,
    unexpected or misshapen. Raises InputError when the file cannot be read.
    """
    state = _read_state(file)
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    classifier = getattr(config, "classifier", None)
    weight = state.get(f"{classifier}.weight") if isinstance(classifier, str) else None
    if weight is None:
        raise FileFormatError(f"{file} has no classifier that fits '{name}'")
    classes = int(weight.shape[0])
    try:
        model = timm.create_model(name.partition(".")[0], num_classes=classes)
        model.load_state_dict(state, strict=True)
    except TypeError as error:
        raise ArchitectureError(f"timm cannot build '{name}': {error}") from error
    except RuntimeError as error:
        raise FileFormatError(f"{file} does not fit '{name}': {' '.join(str(error).split())[:300]}") from error
    return model.eval(), classes


def _read_state(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from tleg.container import open_binary

        open_binary(file).close()
        try:
            return load_file(file)
        except SafetensorError as error:
            raise FileFormatError(f"{file} is damaged, or not a safetensors file") from error
    document: Any = read_checkpoint(file)
    for key in _STATE_KEYS:
        if isinstance(document, Mapping) and isinstance(document.get(key), Mapping):
            document = document[key]
            break
    if not isinstance(document, Mapping) or not all(isinstance(value, Tensor) for value in document.values()):
        raise FileFormatError(f"{file} holds no state of a model")
    # Saved from within DistributedDataParallel.
    return {str(key).removeprefix("module."): value for key, value in document.items()}
