"""Files of weights from elsewhere: read without running anything in them, and searched for the model's tensors."""

import argparse
import datetime
import pathlib
import re
import warnings
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from tleg.errors import FileFormatError, InputError
from tleg.learngene.container import open_binary

_STARTS: Final = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_MOST_UNKNOWN: Final = 1000
_UNKNOWN: Final = re.compile(r"GLOBAL ([\w.]+)")
_UNFIT: Final = re.compile(r"Can only (append|SETITEM)S? .*but got <class '([\w.]+)'>", re.DOTALL)
_NUMPY_TYPES: Final = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "S1", "U1", "O")


class StandIn:
    """In place of an object whose class is not loaded: it keeps its state and does nothing."""

    def __new__(cls, *args: object, **options: object) -> Any:
        return super().__new__(cls)

    def __init__(self, *args: object, **options: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({str(key): value for key, value in part.items()})


class _StandInList(list[Any], StandIn):
    """In place of a list with a class of its own."""


class _StandInMapping(StandIn):
    """In place of a mapping with a class of its own: the reader puts items into mappings of exactly these classes alone."""

    def __new__(cls, *args: object, **options: object) -> Any:
        return OrderedDict()


def read_checkpoint(path: Path) -> Any:
    """Return what a .pth file holds: tensors, arrays, containers, plain values, and stand-ins for everything else.

    Raises InputError when the path cannot be read, FileFormatError when it is no checkpoint, or is damaged.
    """
    with open_binary(path) as file:
        start = file.read(4)
    if not start.startswith(_STARTS):
        raise FileFormatError(f"{path} is not a PyTorch checkpoint")
    unknown: dict[str, type[StandIn]] = {}
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        unknown = dict.fromkeys(names, StandIn)
    except Exception:  # Of the format before 2020, or damaged: then they are met one by one, or the damage is.
        unknown = {}
    while True:
        try:
            return _load(path, unknown)
        except Exception as error:  # A damaged file fails in any part of the unpickler: KeyError, RuntimeError, EOFError, …
            better = _better(str(error))
            if better is not None and unknown.get(better[0]) is not better[1] and len(unknown) < _MOST_UNKNOWN:
                unknown[better[0]] = better[1]
            elif "eights_only" in str(error) or "eights only" in str(error):
                what = f" ({next(iter(unknown))})" if unknown else ""
                raise FileFormatError(
                    f"{path} holds code{what} instead of tensors; tleg runs nothing from a file: save the model's state_dict"
                ) from error
            else:
                raise FileFormatError(f"{path} is damaged, or not a PyTorch checkpoint") from error


def _better(message: str) -> tuple[str, type[StandIn]] | None:
    """The name that the reader stumbled over and what to put in its place, where its message says so."""
    if found := _UNKNOWN.search(message):
        return found[1] if "." in found[1] else f"builtins.{found[1]}", StandIn
    if found := _UNFIT.search(message):
        return found[2].removeprefix(f"{__name__}."), _StandInList if found[1] == "append" else _StandInMapping
    return None


def module_state(module: StandIn) -> dict[str, Tensor]:
    """Return the state of a whole module that was saved, by the names of its `state_dict`; empty for anything else."""
    state: dict[str, Tensor] = {}
    for kind in ("_parameters", "_buffers"):
        values = module.__dict__.get(kind)
        left_out = module.__dict__.get("_non_persistent_buffers_set") if kind == "_buffers" else None
        if isinstance(values, Mapping):
            kept = {str(name): value for name, value in values.items() if isinstance(value, Tensor)}
            hidden = left_out if isinstance(left_out, set) else set()
            state |= {name: value.detach() for name, value in kept.items() if name not in hidden}
    inner = module.__dict__.get("_modules")
    for name, value in inner.items() if isinstance(inner, Mapping) else ():
        if isinstance(value, StandIn):
            state |= {f"{name}.{key}": each for key, each in module_state(value).items()}
    return state


def _load(path: Path, unknown: Mapping[str, type[StandIn]]) -> Any:
    known = {**{name: type(name, (kind,), {}) for name, kind in unknown.items()}, **_known()}
    with torch.serialization.safe_globals([(value, name) for name, value in known.items()]), warnings.catch_warnings():
        # That the file is of the format before 2020, or was made by an older torch.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


@cache
def _known() -> dict[str, Any]:
    """Classes that hold plain values, by the names that they had in any version."""
    multiarray: Any = np.zeros(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    known: dict[str, Any] = {
        "argparse.Namespace": argparse.Namespace,
        "collections.defaultdict": _StandInMapping,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
        **{f"datetime.{kind.__name__}": kind for kind in (datetime.datetime, datetime.date, datetime.timedelta)},
        **{f"pathlib.{kind.__name__}": kind for kind in (pathlib.PurePosixPath, pathlib.PosixPath)},
    }
    for place in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known |= {f"{place}._reconstruct": multiarray, f"{place}.scalar": scalar}
    for text in _NUMPY_TYPES:
        kind = type(np.dtype(text))
        known[f"{kind.__module__}.{kind.__name__}"] = kind
    return known


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
            raise InputError(f"{self.path} holds {held}; leave --weights out", field="weights", code="conflict")
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
