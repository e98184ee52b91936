"""Reading PyTorch checkpoints from elsewhere without running anything in them."""

import argparse
import re
from pathlib import Path
from typing import Any

import torch

from tleg.container import open_binary
from tleg.errors import FileFormatError


def read_checkpoint(path: Path) -> Any:
    """Return what a .pth file holds: tensors, containers, plain values, argparse.Namespace; nothing else is unpickled.

    Raises InputError when the path cannot be read, FileFormatError when it is no checkpoint, is damaged, or holds code.
    """
    with open_binary(path) as file:
        start = file.read(4)
    if start[:2] not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise FileFormatError(f"{path} is not a PyTorch checkpoint")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # A damaged file fails in any part of the unpickler: KeyError, RuntimeError, EOFError, …
        found = re.search(r"GLOBAL ([\w.]+)|[Uu]nsupported global: GLOBAL ([\w.]+)", str(error))
        if found:
            raise FileFormatError(
                f"{path} holds code ({found[1] or found[2]}); tleg runs nothing from a file; save its state_dict()"
            ) from error
        if "weights_only" in str(error) or "Weights only" in str(error):
            raise FileFormatError(f"{path} holds more than tensors and options; tleg runs nothing from a file") from error
        raise FileFormatError(f"{path} is damaged, or not a PyTorch checkpoint") from error
