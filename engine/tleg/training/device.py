"""Where a model runs and in which precision, each with the reason for the choice."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from tleg.errors import InputError


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, whether bfloat16 autocast is used on it, and why."""

    device: torch.device
    bfloat16: bool
    reason: str

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def __str__(self) -> str:
        return f"{self.device} in {'bfloat16' if self.bfloat16 else 'float32'} ({self.reason})"


def choose_placement(device: str = "auto", precision: str = "auto") -> Placement:
    """Choose a device ('auto', 'cpu', 'cuda', 'cuda:1', …) and precision ('auto', 'float32', 'bfloat16').

    Automatic precision is bfloat16 where the GPU computes with it, otherwise float32. Raises InputError for a device that is
    not there, or an unknown precision.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise InputError(f"unknown precision '{precision}': choose auto, float32 or bfloat16")
    available = torch.cuda.is_available()
    if device == "auto":
        chosen = torch.device("cuda" if available else "cpu")
    else:
        try:
            chosen = torch.device(device)
        except RuntimeError as error:
            raise InputError(f"unknown device '{device}': choose auto, cpu, cuda or cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"tleg runs on cpu and cuda, not on '{device}'")
    if chosen.type == "cuda":
        if not available:
            raise InputError(f"'{device}' was asked for, but torch sees no CUDA device; `tleg doctor` says more")
        if (chosen.index or 0) >= torch.cuda.device_count():
            raise InputError(f"there is no '{device}': torch sees {torch.cuda.device_count()} CUDA devices")
    if precision != "auto":
        return Placement(chosen, precision == "bfloat16", "asked for")
    if chosen.type == "cpu":
        return Placement(chosen, False, "the CPU gains nothing from less")
    major, minor = torch.cuda.get_device_capability(chosen)
    if major >= 8:
        return Placement(chosen, True, f"sm_{major}{minor} computes in bfloat16")
    return Placement(chosen, False, f"sm_{major}{minor} has no bfloat16 units")
