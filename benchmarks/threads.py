"""Threads of a training on the processor: as many as `--threads auto` takes, against one, in the ways in which runs meet.

    python -m benchmarks threads
    python -m benchmarks.threads "beside another run"

Real trainers, each a process of its own, on Fashion-MNIST. Every round trains for some seconds with each number of threads,
one after the other, so that whatever else the machine does meets both; what is shown are medians over rounds, with the load.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tleg.recipes.io import from_values, to_values
from tleg.runs.events import EventReader
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.threads import available_cores, choose_threads, launched_environment

ROUNDS = int(os.environ.get("TLEG_BENCHMARK_ROUNDS", "5"))
SECONDS = 5.0
BATCH = 128
_LEAST_REPORTS = 4
RECIPE = {
    "architecture": "vit_tiny_patch16_224",
    "model-arg": {"patch_size": 7, "embed_dim": 64, "num_heads": 2},
    "data": "fashion-mnist",
    "auxiliary-depth": 6,
    "auto-augment": "none",
    "random-erasing": 0.0,
    "crop-scale": 0.9,
    "batch-size": BATCH,
    "device": "cpu",
    "epochs": 1000,
}


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train: workers and processes of a run, runs at the same time, and the width of the model."""

    name: str
    workers: int = 0
    processes: int = 1
    runs: int = 1
    width: int = 64


WAYS = (
    Way("alone"),
    Way("alone, 192 wide", width=192),
    Way("with 2 workers", workers=2),
    Way("with 2 processes", processes=2),
    Way("beside another run", runs=2),
    Way("beside another run, 192 wide", runs=2, width=192),
)


def main() -> None:
    """Measure and print."""
    os.environ.pop("OMP_NUM_THREADS", None)
    print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f}, {ROUNDS} rounds of {SECONDS:g} s")
    with tempfile.TemporaryDirectory() as place:
        for way in WAYS:
            if not sys.argv[1:] or way.name in sys.argv[1:]:
                _measure(way, Path(place))


def _measure(way: Way, place: Path) -> None:
    auto = choose_threads(processes=way.processes, workers=way.workers).count
    speeds: dict[str, list[float]] = {"auto": [], "1": []}
    loads: list[float] = []
    for turn in range(ROUNDS):
        for text in ("auto", "1") if turn % 2 else ("1", "auto"):
            speeds[text].append(_speed(way, text, place))
            loads.append(os.getloadavg()[0])
    ours, one = (statistics.median(speeds[text]) for text in ("auto", "1"))
    pairs = [first / second for first, second in zip(speeds["auto"], speeds["1"], strict=True)]
    if auto == 1:
        print(f"{way.name}: auto is 1 thread a process here; two measurements of that differ by {abs(ours / one - 1):.0%}")
        return
    print(
        f"{way.name}: auto ({auto} thread{'s' if auto > 1 else ''} a process) {ours:.0f} images/s, 1 thread {one:.0f}: "
        f"{ours / one:.2f} x, by round {min(pairs):.2f} to {max(pairs):.2f}; load {statistics.median(loads):.1f}; "
        "goal at least 1 within the noise"
    )


def _speed(way: Way, threads: str, place: Path) -> float:
    """Images a second of all runs together, while all of them train."""
    arguments = {**RECIPE["model-arg"], "embed_dim": way.width}  # type: ignore[dict-item]
    values = {**RECIPE, "model-arg": arguments, "workers": way.workers, "threads": threads, "devices": way.processes}
    recipe = to_values(from_values("learn", values))
    folders = [create_run(place, kind="learn", recipe=recipe) for _ in range(way.runs)]
    with _trainers(folders, way.processes):
        readers = [EventReader(folder) for folder in folders]
        steps: list[list[Any]] = [[] for _ in folders]
        _wait_for_steps(readers, steps)
        begin = max(told[0].t for told in steps)
        time.sleep(SECONDS)
        while min(len([event for event in told if event.t >= begin]) for told in steps) < _LEAST_REPORTS:
            time.sleep(0.1)
            for reader, told in zip(readers, steps, strict=True):
                told += [event for event in reader.read() if event.type == "step"]
    speed = 0.0
    for told in steps:
        inside = [event for event in told if event.t >= begin]
        done = inside[-1].payload["step"] - inside[0].payload["step"]
        speed += done * BATCH / (inside[-1].t - inside[0].t)
    return speed


def _wait_for_steps(readers: Sequence[EventReader], steps: Sequence[list[Any]]) -> None:
    """Until every run has told a step after its first, which takes longer."""
    while not all(steps):
        for reader, told in zip(readers, steps, strict=True):
            told += [event for event in reader.read() if event.type == "step" and event.payload["step"] > 1]
        time.sleep(0.1)


@contextmanager
def _trainers(folders: Sequence[RunFolder], processes: int) -> Iterator[None]:
    started = []
    for folder in folders:
        words = ["-m", "tleg.training", str(folder.path)]
        if processes > 1:
            words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *words]
        with folder.log_file.open("ab") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, *words],
                    env=launched_environment(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


if __name__ == "__main__":
    main()
