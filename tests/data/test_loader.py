"""Loading: the device, the waiting, and workers that end with their parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tleg.data.fashion_mnist import ArrayImages
from tleg.data.loader import Prefetcher, batches, worker_options
from tleg.data.sampler import ShuffledBatches, TrainingImages
from tleg.data.transforms import training_transform
from tleg.errors import DataError
from tleg.learngene.header import Preprocessing
from tleg.recipes.training import Augmentation


def loader(workers: int = 0, images: Any = None) -> DataLoader[Any]:
    generator = np.random.default_rng(1)
    some = images or ArrayImages(generator.integers(0, 256, (24, 8, 8), dtype=np.uint8), np.arange(24, dtype=np.uint8) % 3)
    transform = training_transform((1, 8, 8), Preprocessing((0.3,), (0.4,)), Augmentation())
    return DataLoader(
        TrainingImages(some, transform, 0), batch_sampler=ShuffledBatches(24, 8, 2, 0), **worker_options(workers)
    )


def test_prefetching_changes_nothing() -> None:
    plain = list(batches(loader()))
    prefetched = list(Prefetcher(loader(2), torch.device("cpu")))
    assert len(plain) == len(prefetched) == 6
    for first, second in zip(plain, prefetched, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Slow(Dataset[Any]):
    """Takes a tenth of a second for an item."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.1)
        return torch.zeros(1, 2, 2), 0, -1


def test_waiting_is_measured() -> None:
    prefetcher = Prefetcher(DataLoader(Slow(), batch_size=1), torch.device("cpu"))
    waits = []
    for _ in prefetcher:
        waits.append(prefetcher.waited)
        time.sleep(0.6)  # The time of the consumer does not count.
    assert all(0.1 * count <= wait for count, wait in enumerate(waits, 1))
    assert waits[-1] < 1.45


class Broken:
    """Images of which none can be read."""

    def __len__(self) -> int:
        return 24

    def image(self, index: int) -> Image.Image:
        raise DataError(f"cannot read image {index}")

    def label(self, index: int) -> int:
        return 0

    def name(self, index: int) -> str:
        return f"image {index}"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_stays_one_line(workers: int) -> None:
    with pytest.raises(
        DataError, match=r"^cannot read image \d+, nor 19 others that were tried instead \(cannot read image \d+\)$"
    ):
        list(batches(loader(workers, Broken())))


PARENT = """
import os, sys, time, torch
from torch.utils.data import DataLoader, Dataset
from tleg.data.loader import worker_options, batches

class Forever(Dataset):
    def __len__(self): return 10
    def __getitem__(self, index):
        if index > 1: time.sleep(600)
        return torch.zeros(1), os.getpid(), -1

for _, labels, _ in batches(DataLoader(Forever(), batch_size=1, **worker_options(2))):
    print(int(labels[0]), flush=True)
    {then}
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_workers_end_with_their_parent(child_environment: Callable[..., dict[str, str]]) -> None:
    code = PARENT.format(then="pass")
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=child_environment())
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert len(set(workers)) == 2
    # torchrun ends whole groups; the trainer needs its workers until it saved.
    assert [os.getpgid(worker) for worker in workers] == workers
    for worker in workers:
        # What a group is sent is the parent's to answer.
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGUSR1)
    time.sleep(0.2)
    assert all(alive(worker) for worker in workers)
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 120
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("text", ["DataLoader worker (pid 7) exited unexpectedly", "Pin memory thread exited unexpectedly"])
def test_whatever_notices_that_a_worker_died_it_is_one_line(text: str) -> None:
    class Dying:
        def __iter__(self) -> Iterator[Any]:
            raise RuntimeError(text)

    with pytest.raises(DataError, match="was killed, most likely for want of memory; give fewer --workers"):
        list(batches(cast(Any, Dying())))


def test_a_killed_worker_is_explained(run_python: Callable[..., Any]) -> None:
    done = run_python(PARENT.format(then="os.kill(int(labels[0]), 9); time.sleep(1); print('here')"))
    assert done.code == 1
    # Not in the middle of a step.
    assert done.stdout.strip().splitlines()[-1] == "here"
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith("a process that prepares images was killed, most likely for want of memory; give fewer --workers")
