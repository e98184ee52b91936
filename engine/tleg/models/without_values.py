"""Making modules whose parameters have no values: for their names and shapes, or because others come in their place."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# What initialisation does in place. On 'meta' it changes nothing, and takes most of the time that making a module does.
_ARITHMETIC: Final = ("add_", "bernoulli_", "clamp_", "copy_", "div_", "erfinv_", "fill_", "mul_", "normal_", "sub_")
_FILLING: Final = ("kaiming_normal_", "kaiming_uniform_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_")
_IN_PLACE: Final = frozenset((*_ARITHMETIC, *_FILLING, "zero_"))


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves out what would change the values of a tensor that has none."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in _IN_PLACE:
            target = args[0] if args else (kwargs or {}).get("tensor")
            if isinstance(target, Tensor) and target.is_meta:
                return target
        return func(*args, **(kwargs or {}))


@contextmanager
def without_values() -> Iterator[None]:
    """Modules and tensors that are made inside are on 'meta': they have shapes, and no values."""
    with torch.device("meta"), _WithoutInitialisation():
        yield
