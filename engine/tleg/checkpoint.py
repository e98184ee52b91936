"""Reading PyTorch checkpoints from elsewhere without running anything in them.

torch's own restricted reader (`weights_only=True`) takes tensors and plain values. Training code puts more beside them: its
options, numbers of NumPy's, schedulers, whole modules. What those are is of no interest, so each class and function that the
reader does not know is replaced by an inert stand-in that keeps what it is given and does nothing.
"""

import argparse
import datetime
import pathlib
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from tleg.container import open_binary
from tleg.errors import FileFormatError

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
