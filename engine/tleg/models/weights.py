"""Which tensors of a checkpoint are the model's: the one reader of files of weights that training code writes.

A file may hold the weights alone, or beside an optimiser's state, an average, a teacher and a student; under the prefixes of
wrappers (DistributedDataParallel, torch.compile, Lightning, a module of the user's); with parts of a pretraining that the
model does not have; as a whole module. Nothing in a file is run.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from tleg.checkpoint import StandIn, module_state, read_checkpoint
from tleg.container import open_binary
from tleg.errors import FileFormatError, InputError

Which = Literal["model", "ema"]
WHICH: Final[tuple[Which, ...]] = ("model", "ema")
# Under these keys training code keeps a model's state, in the order in which timm and others look (timm 1.0,
# `timm.models._helpers.load_state_dict`). In DINO's checkpoints the teacher is the average of the student.
_EMA_KEYS: Final = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "teacher")
_MODEL_KEYS: Final = ("state_dict", "model", "model_state_dict", "model_state", "student", "net", "network", "weights")
# What a pretraining has besides its backbone: MAE, BEiT, SimMIM, MoCo, iBOT.
_PRETRAINING: Final = re.compile(r"(mask_token|decoder|predictor|projector|projection|lm_head|momentum|queue)(_|\.|$)")
_LFS: Final = b"version https://git-lfs.github.com/spec"


@dataclass(frozen=True, slots=True)
class FileOfWeights:
    """The states that a file holds, by the key that they lie under ('' is the file itself): the model's, and its average."""

    path: Path
    states: Mapping[Which, tuple[str, Mapping[str, Tensor]]]

    def take(self, which: Which | None) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
        """Return one state, and what there is to say of the choice. None is timm's choice: the average, where there is one.

        Raises InputError when the file does not hold what was asked for.
        """
        chosen = which or ("ema" if "ema" in self.states else "model")
        if chosen not in self.states:
            held = "no average of the weights" if chosen == "ema" else "no weights besides their average"
            raise InputError(f"{self.path} holds {held}; leave --weights out")
        key, state = self.states[chosen]
        if which is not None or len(self.states) == 1:
            return state, ()
        other = self.states["model"][0]
        return state, (f"{self.path} holds '{key}' and '{other}': '{key}' was taken; --weights model takes the other",)


def read_weights(path: Path) -> FileOfWeights:
    """Read a .safetensors file, or what torch.save wrote. Raises InputError or FileFormatError."""
    document = _plain(_read(path))
    found: dict[Which, tuple[str, Mapping[str, Tensor]]] = {}
    if isinstance(document, Mapping):
        candidates: tuple[tuple[Which, tuple[str, ...]], ...] = (("ema", _EMA_KEYS), ("model", _MODEL_KEYS))
        for which, keys in candidates:
            key = next((key for key in keys if _is_state(document.get(key))), None)
            if key is not None:
                found[which] = (key, _tensors(document[key]))
        if not found and _is_state(document):
            found["model"] = ("", _tensors(document))
        if not found:
            states = [str(key) for key, value in document.items() if _is_state(value)]
            if len(states) == 1:
                found["model"] = (states[0], _tensors(document[states[0]]))
    if not found:
        raise FileFormatError(f"{path} holds no state of a model: no tensors by the names of parameters")
    return FileOfWeights(path, found)


def _read(path: Path) -> Any:
    with open_binary(path) as file:
        start = file.read(len(_LFS))
    if start == _LFS:
        raise FileFormatError(f"{path} is a pointer of Git LFS, not the file itself; run `git lfs pull` where it lies")
    if path.suffix == ".npz":
        raise FileFormatError(
            f"{path} is an archive of JAX's; timm converts it: timm.create_model(NAME, checkpoint_path='{path.name}'), and "
            "timm.models.save_for_hf(model, FOLDER, safe_serialization=True)"
        )
    if path.suffix != ".safetensors":
        return read_checkpoint(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise FileFormatError(f"{path} is damaged, or not a safetensors file") from error


def _plain(document: Any) -> Any:
    """The document with the states of whole modules in their place."""
    if isinstance(document, StandIn):
        return module_state(document)
    if isinstance(document, Mapping):
        return {key: module_state(value) if isinstance(value, StandIn) else value for key, value in document.items()}
    return document


def _is_state(value: object) -> bool:
    """Whether it maps names to tensors. Counters that are plain numbers may be among them."""
    if not isinstance(value, Mapping) or not value:
        return False
    return any(isinstance(each, Tensor | np.ndarray) for each in value.values()) and all(
        isinstance(name, str) and isinstance(each, Tensor | np.ndarray | int | float | str | None)
        for name, each in value.items()
    )


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    arrays = {name: torch.tensor(value) for name, value in state.items() if _is_numeric(value)}
    return {name: arrays.get(name, value) for name, value in state.items() if isinstance(value, Tensor) or name in arrays}


def _is_numeric(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def unwrap(state: Mapping[str, Tensor], expected: Collection[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of the model whose parameters are `expected`, without a wrapper's prefix, and the names left out.

    Tensors outside of the prefix belong to what wraps the model (a loss, metrics, another head) and are left out, as are the
    parts of a pretraining. Everything else stays, so that strict loading names what does not fit.
    """
    wanted = set(expected)
    prefix = _prefix(state, wanted)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    left = [name for name in state if not name.startswith(prefix)]
    kept = dict(inside)
    for name in inside:
        if name not in wanted and (_PRETRAINING.match(name) or name == "n_averaged"):
            del kept[name]
    if "mask_token" in inside and "mask_token" not in wanted and not set(kept) <= wanted:
        # timm knows a state that it has to convert by this name (DINOv2).
        kept["mask_token"] = inside["mask_token"]
    left += [name for name in inside if name not in kept]
    return kept, tuple(left)


def _prefix(state: Mapping[str, Tensor], wanted: set[str]) -> str:
    """The prefix under which most of a model's parameters are found; the first such, and none where that is as good."""
    counts: Counter[str] = Counter({"": 0})
    for name in state:
        parts = name.split(".")
        for index in range(len(parts)):
            if ".".join(parts[index:]) in wanted:
                counts["".join(f"{part}." for part in parts[:index])] += 1
    best, count = counts.most_common(1)[0]
    if count >= len(wanted) / 2:
        return best
    # A state by other names than timm's own, which its filters convert: only what surely wraps it is taken off.
    for wrapper in ("module._orig_mod.", "_orig_mod.module.", "module.", "_orig_mod."):
        if all(name.startswith(wrapper) for name in state):
            return wrapper
    return ""
