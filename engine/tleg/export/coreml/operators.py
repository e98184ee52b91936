"""Operators of MIL, the language of CoreML's programs, computed by PyTorch as coremltools documents each of them.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html has the inputs by name. Those are
here that ViTs, BEiT, Swin and ConvNeXt need; others are refused by name.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch.nn import functional as F

from tleg.errors import VerificationError

_TYPES: Final = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int32": torch.int32,
    "int16": torch.int16,
    "bool": torch.bool,
}
Inputs = Mapping[str, Any]
Outputs = tuple[Any, ...]


def _numbers(value: Any) -> list[int]:
    return [int(each) for each in value]


def _conv(given: Inputs) -> Outputs:
    if given.get("pad_type", "valid") not in ("valid", "custom"):
        raise VerificationError(f"pad_type {given['pad_type']}")
    x, pad = given["x"], _numbers(given.get("pad", ()))
    if given.get("pad_type") == "custom" and any(pad):
        # (before, after) of each axis, the last axis first in PyTorch.
        x = F.pad(x, [each for axis in reversed(range(len(pad) // 2)) for each in pad[2 * axis : 2 * axis + 2]])
    function = {3: F.conv1d, 4: F.conv2d}[x.ndim]
    strides, dilations = _numbers(given.get("strides", (1, 1))), _numbers(given.get("dilations", (1, 1)))
    return (function(x, given["weight"], given.get("bias"), strides, 0, dilations, int(given.get("groups", 1))),)


def _layer_norm(given: Inputs) -> Outputs:
    x, axes = given["x"], [axis % given["x"].ndim for axis in _numbers(given["axes"])]
    if axes != list(range(x.ndim - len(axes), x.ndim)):
        raise VerificationError(f"a norm over the axes {axes}")
    return (F.layer_norm(x, x.shape[axes[0] :], given.get("gamma"), given.get("beta"), float(given["epsilon"])),)


def _gelu(given: Inputs) -> Outputs:
    known = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
    mode = str(given.get("mode", "EXACT"))
    if mode not in known:
        raise VerificationError(f"mode {mode}")
    return (F.gelu(given["x"], approximate=known[mode]),)


def _matmul(given: Inputs) -> Outputs:
    x, y = (
        given[name].transpose(-1, -2) if bool(given.get(f"transpose_{name}", False)) else given[name] for name in ("x", "y")
    )
    return (x @ y,)


def _gather(given: Inputs) -> Outputs:
    x, indices, axis = given["x"], torch.as_tensor(given["indices"]), int(given.get("axis", 0))
    if indices.ndim > 1:
        raise VerificationError(f"indices of {indices.ndim} axes")
    return (x.index_select(axis, indices) if indices.ndim else x.select(axis, int(indices)),)


def _reshape(given: Inputs) -> Outputs:
    x = given["x"]
    shape = [x.shape[place] if size == 0 else size for place, size in enumerate(_numbers(given["shape"]))]
    return (x.reshape(shape),)


def _split(given: Inputs) -> Outputs:
    x, axis = given["x"], int(given["axis"])
    if (sizes := given.get("split_sizes")) is not None:
        return tuple(x.split(_numbers(sizes), axis))
    return tuple(x.chunk(int(given["num_splits"]), axis))


def _slice_by_index(given: Inputs) -> Outputs:
    x = given["x"]
    nothing = [False] * x.ndim
    begins, ends = (list(given.get(name, nothing)) for name in ("begin_mask", "end_mask"))
    single, steps = list(given.get("squeeze_mask", nothing)), _numbers(given.get("stride", [1] * x.ndim))
    places: list[Any] = []
    for axis, (begin, end) in enumerate(zip(_numbers(given["begin"]), _numbers(given["end"]), strict=True)):
        if steps[axis] < 1:
            raise VerificationError("a step backwards")
        places.append(
            begin if single[axis] else slice(None if begins[axis] else begin, None if ends[axis] else end, steps[axis])
        )
    return (x[tuple(places)],)


def _expand_dims(given: Inputs) -> Outputs:
    x = given["x"]
    rank = x.ndim + len(axes := _numbers(given["axes"]))
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return (x,)


def _squeeze(given: Inputs) -> Outputs:
    axes = given.get("axes")
    return (given["x"].squeeze() if axes is None else given["x"].squeeze(tuple(_numbers(axes))),)


def _reduce_mean(given: Inputs) -> Outputs:
    return (given["x"].mean(_numbers(given["axes"]), keepdim=bool(given.get("keep_dims", False))),)


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[Inputs], Outputs]:
    return lambda given: (function(given["x"], given["y"]),)


OPERATORS: Final[Mapping[str, Callable[[Inputs], Outputs]]] = MappingProxyType(
    {
        "add": _of_two(torch.add),
        "cast": lambda given: (torch.as_tensor(given["x"]).to(_TYPES[str(given["dtype"])]),),
        "concat": lambda given: (torch.cat([torch.as_tensor(each) for each in given["values"]], int(given["axis"])),),
        "conv": _conv,
        "expand_dims": _expand_dims,
        "gather": _gather,
        "gelu": _gelu,
        "layer_norm": _layer_norm,
        "linear": lambda given: (F.linear(given["x"], given["weight"], given.get("bias")),),
        "matmul": _matmul,
        "mul": _of_two(torch.mul),
        "reduce_mean": _reduce_mean,
        "reshape": _reshape,
        "slice_by_index": _slice_by_index,
        "softmax": lambda given: (given["x"].softmax(int(given.get("axis", -1))),),
        "split": _split,
        "squeeze": _squeeze,
        "sub": _of_two(torch.sub),
        "tile": lambda given: (given["x"].tile(_numbers(given["reps"])),),
        "transpose": lambda given: (given["x"].permute(_numbers(given["perm"])),),
    }
)
