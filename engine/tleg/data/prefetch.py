"""Batches on the device before they are needed."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tleg.data.loading import batches

Batch = tuple[Tensor, Tensor, Tensor]


class Prefetcher:
    """Iterates over batches on a device. A GPU receives the next one while it computes with the current one.

    waited         seconds that the consumer waited for images so far
    channels_last  give the pixels the memory format that convolutions on GPUs want
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device, *, channels_last: bool = False) -> None:
        self.waited = 0.0
        self._loader = loader
        self._device = device
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __iter__(self) -> Iterator[Batch]:
        source = self._timed(batches(self._loader))
        return self._on_gpu(source) if self._device.type == "cuda" else self._on_cpu(source)

    def _timed(self, source: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            began = time.monotonic()
            batch = next(source, None)
            self.waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def _on_cpu(self, source: Iterator[Batch]) -> Iterator[Batch]:
        for pixels, labels, unreadable in source:
            yield pixels.contiguous(memory_format=self._format), labels, unreadable

    def _on_gpu(self, source: Iterator[Batch]) -> Iterator[Batch]:
        copying = torch.cuda.Stream(self._device)
        ready: Batch | None = None
        for batch in source:
            with torch.cuda.stream(copying):
                pixels = batch[0].to(self._device, non_blocking=True, memory_format=self._format)
                upcoming = (pixels, batch[1].to(self._device, non_blocking=True), batch[2])
            if ready is not None:
                yield ready
            torch.cuda.current_stream(self._device).wait_stream(copying)
            for tensor in upcoming[:2]:
                # Its memory must not be used again before the computing stream is done with it.
                tensor.record_stream(torch.cuda.current_stream(self._device))
            ready = upcoming
        if ready is not None:
            yield ready
