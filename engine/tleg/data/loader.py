"""Loading batches, in this process or in workers, and moving them to the device before they are needed."""

import ctypes
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tleg.errors import SHARED_MEMORY, DataError, TlegError, explain

_PREFETCHED: Final = 4
_PR_SET_PDEATHSIG: Final = 1
# Of this process by itself; of each worker, whose batches wait in shared memory; and what is taken where it may be.
_FILES: Final = 32
_FILES_OF_A_WORKER: Final = 8 + 3 * _PREFETCHED
_MANY_FILES: Final = 4096
_WORKER_DIED: Final = ("DataLoader worker", "Pin memory thread exited")


def batches(loader: DataLoader[Any]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (pixel values (N, C, H, W), labels (N,), indices of what could not be read (N,)).

    An error of tleg's in a worker is raised as it was there: torch repeats it with the worker's traceback in its message,
    and the message itself is the last line. Raises DataError when a worker was killed.
    """
    iterator: Any = None
    try:
        iterator = _begin(loader)
        yield from iterator
    except TlegError as error:
        lines = str(error).splitlines()
        if len(lines) < 2:
            raise
        raise type(error)(lines[-1].partition(": ")[2]) from None
    except RuntimeError as error:
        if str(error).startswith("Caught "):  # In a worker that goes on living.
            known = explain(error)
            if known is None:
                raise
            raise DataError(known, code="system") from error
        # With pinned memory it is the thread between this process and the workers that notices first.
        if not any(word in str(error) for word in _WORKER_DIED):
            raise
        # A worker that writes to shared memory of which there is no more is ended by this signal.
        if any(worker.exitcode == -signal.SIGBUS for worker in getattr(iterator, "_workers", ())):
            raise DataError(SHARED_MEMORY, field="workers", code="system") from error
        raise DataError(
            "a process that prepares images was killed, most likely for want of memory; give fewer --workers",
            field="workers",
            code="system",
        ) from error


def _begin(loader: DataLoader[Any]) -> Iterator[Any]:
    """Without torch's handler of SIGCHLD, which raises in the middle of whatever this process does when a worker dies.

    Then it is noticed where a batch is asked for, within seconds.
    """
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return iterator


def worker_options(workers: int) -> dict[str, Any]:
    """Return the arguments of a DataLoader for so many workers.

    Raises DataError when they cannot have as many open files as they need: then torch would wait for their images for ever.
    """
    if not workers:
        return {"num_workers": 0}
    _allow_files(workers)
    return {"num_workers": workers, "prefetch_factor": _PREFETCHED, "worker_init_fn": settle_worker}


def _allow_files(workers: int) -> None:
    """Raise this process's limit of open files as far as it may. Every batch that waits holds some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES + workers * _FILES_OF_A_WORKER
    wanted = max(needed, _MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise DataError(
            f"only {soft} files may be open at once, and {workers} worker{'s' if workers > 1 else ''} may need {needed}: "
            "raise the limit with `ulimit -n 65536`, or give fewer --workers (0 needs none)",
            field="workers",
            code="system",
        )


def settle_worker(_: int) -> None:
    """Make a worker use one core, leave signals to its parent, and end with it however that ends.

    It gets a process group of its own: torchrun ends whole groups, and the parent needs its workers until it saved. SIGTERM
    stays torch's, whose loader ends its workers with it.
    """
    torch.set_num_threads(1)
    with suppress(OSError):
        os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    starter = multiprocessing.parent_process()
    parent = os.getppid() if starter is None else starter.pid
    # torch's workers look for their parent every few seconds at most, and not while they prepare a batch.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


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
