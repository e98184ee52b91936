"""Loading batches, in this process or in workers, with errors that stay one line."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from tleg.errors import TlegError


def batches(loader: DataLoader[Any]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (pixel values (N, C, H, W), labels (N,)). An error of tleg's in a worker is raised as it was there.

    torch repeats a worker's error with the worker's traceback in its message; the message itself is the last line.
    """
    try:
        yield from loader
    except TlegError as error:
        lines = str(error).splitlines()
        if len(lines) < 2:
            raise
        raise type(error)(lines[-1].partition(": ")[2]) from None


def use_one_thread(_: int) -> None:
    """Keep a worker process from spreading over cores that the model needs."""
    torch.set_num_threads(1)
