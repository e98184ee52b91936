"""Where a model runs and in which precision, each with the reason for the choice."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import torch

from tleg.errors import InputError
from tleg.learngene.header import Precision

_TYPES: Final[dict[Precision, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, the precision of the matrix products on it, and why."""

    device: torch.device
    precision: Precision
    reason: str

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for forward passes."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, _TYPES[self.precision])

    def in_float32(self) -> "Placement":
        """The same device in float32, as exported models compute."""
        return replace(self, precision="float32")

    def __str__(self) -> str:
        return f"{self.device} in {self.precision} ({self.reason})"


def choose_placement(device: str = "auto", precision: str = "auto", local_rank: int = 0, local_size: int = 1) -> Placement:
    """Choose a device ('auto', 'cpu', 'cuda', 'cuda:1', …) and a precision ('auto' or one of `Precision`).

    Automatic precision is bfloat16 where the GPU computes with it, otherwise float32. Of several processes on a machine,
    each takes the device of its local rank; all of the local size see whether there are enough. Raises InputError for a
    device that is not there, or an unknown precision.
    """
    if precision not in ("auto", *_TYPES):
        raise InputError(
            f"unknown precision '{precision}': choose auto, {', '.join(_TYPES)}", field="precision", code="unknown-name"
        )
    chosen = _choose_device(device, local_rank, local_size)
    if precision != "auto":
        if precision == "float16" and chosen.type == "cpu":
            raise InputError(
                "float16 trains on GPUs alone; choose float32 or bfloat16 on the CPU", field="precision", code="unsupported"
            )
        return Placement(chosen, cast(Precision, precision), "asked for")
    if chosen.type == "cpu":
        return Placement(chosen, "float32", "the CPU gains nothing from less")
    major, minor = torch.cuda.get_device_capability(chosen)
    if major >= 8:
        return Placement(chosen, "bfloat16", f"sm_{major}{minor} computes in bfloat16")
    return Placement(chosen, "float32", f"sm_{major}{minor} has no bfloat16 units; --precision float16 is faster")


def _choose_device(device: str, local_rank: int, local_size: int) -> torch.device:
    available = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if available else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"unknown device '{device}': choose auto, cpu, cuda or cuda:N", field="device", code="unknown-name"
        ) from error
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"tleg runs on cpu and cuda, not on '{device}'", field="device", code="unsupported")
    if chosen.type == "cpu":
        return chosen
    if not available:
        raise InputError(
            f"'{device}' was asked for, but torch sees no CUDA device; `tleg doctor` says more",
            field="device",
            code="no-device",
        )
    if local_size > torch.cuda.device_count():
        # Each process says so: one that found its own device would wait for those that did not.
        raise InputError(
            f"{local_size} devices were asked for, and torch sees {torch.cuda.device_count()} CUDA devices on this machine; "
            f"lower --devices, or give --device cpu",
            field="devices",
            code="no-device",
        )
    if ":" not in device:
        chosen = torch.device("cuda", local_rank)
    if chosen.index >= torch.cuda.device_count():
        raise InputError(
            f"there is no '{chosen}': torch sees {torch.cuda.device_count()} CUDA devices", field="device", code="no-device"
        )
    return chosen
