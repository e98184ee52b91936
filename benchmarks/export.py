"""Exports: `python -m benchmarks.export [--json] [--quick]`.

Ratios that a run can be judged by, whatever the machine: writing speed against torch.onnx.export, compact and elastic sizes
against the learngene's, and ONNX Runtime's latency of our files against the file that torch.onnx.export makes. Candidates
take turns in one process on one thread, and the median of each counts. Latency is the CPU time of the thread that runs the
model, which other processes disturb least.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import torch

from tleg.export.onnx.compact import write_compact
from tleg.export.onnx.elastic import write_elastic
from tleg.export.onnx.plain import write_plain
from tleg.export.onnx.traced import write_torch
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.descendant import expand
from tleg.models.flops import measure as measure_cost
from tleg.models.learngene import Learngene

NAMES: Mapping[str, str] = {"S": "deit_small_patch16_224", "B": "deit_base_patch16_224"}
DEPTHS = (8, 12, 24)
DEPTH = 12
# What the project promises: writing at least so many times faster; sizes and latencies at most so many times as large.
WRITING_AT_LEAST = 10.0
SIZE_AT_MOST = 1.05
LATENCY_AT_MOST: Mapping[str, Mapping[int, float]] = {
    "onnx": {1: 1.05, 8: 1.05},
    "onnx-compact": {1: 1.05, 8: 1.05},
    "onnx-elastic": {1: 1.20, 8: 1.05},
}


def random_learngene(name: str) -> Learngene:
    """A learngene of random values: neither speed nor size depends on them."""
    architecture = describe(name)
    header = LearngeneHeader(
        architecture,
        Basis(),
        Auxiliary(DEPTH),
        Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        measure_cost(architecture),
    )
    tensors = AuxiliaryModel(architecture, Basis()).tensors()
    generator = np.random.default_rng(0)
    noisy = {
        key: values + generator.standard_normal(values.shape, dtype=np.float32) * np.float32(0.01)
        for key, values in tensors.items()
    }
    return Learngene(header, noisy)


class Writers:
    """The ways to write one learngene's descendant, each into its own file of a folder."""

    def __init__(self, learngene: Learngene, folder: Path) -> None:
        structure = learngene.header.architecture.structure
        assert structure is not None
        self._structure = structure
        self._basis, self._tensors = learngene.header.basis, learngene.tensors
        self._learngene = learngene
        self._folder = folder

    def plain(self, depth: int = DEPTH) -> Path:
        """Our plain file."""
        write_plain(self._folder / "plain.onnx", self._structure, self._basis, self._tensors, depth, metadata={})
        return self._folder / "plain.onnx"

    def compact(self, depth: int = DEPTH) -> Path:
        """Our compact file."""
        write_compact(self._folder / "compact.onnx", self._structure, self._basis, self._tensors, depth, metadata={})
        return self._folder / "compact.onnx"

    def elastic(self) -> Path:
        """Our elastic file."""
        write_elastic(self._folder / "elastic.onnx", self._structure, self._basis, self._tensors, metadata={})
        return self._folder / "elastic.onnx"

    def traced(self, depth: int = DEPTH) -> Path:
        """The file that torch.onnx.export makes of the descendant."""
        model = expand(self._learngene, depth)
        write_torch(self._folder / "traced.onnx", model, self._learngene.header.architecture.input_size, metadata={})
        return self._folder / "traced.onnx"


def measure_writing(writers: Writers, repetitions: int) -> dict[str, float]:
    """Seconds to write an S/12, and their ratio. The first run of each, which loads code, does not count."""
    seconds: dict[str, list[float]] = {"ours": [], "torch": []}
    writers.plain()
    writers.traced()
    for _ in range(repetitions):
        for name, write in (("ours", writers.plain), ("torch", writers.traced)):
            begin = time.perf_counter()
            write()
            seconds[name].append(time.perf_counter() - begin)
    ours, theirs = statistics.median(seconds["ours"]), statistics.median(seconds["torch"])
    return {"ours_seconds": ours, "torch_seconds": theirs, "torch_over_ours": theirs / ours}


def measure_sizes(learngene: Learngene, writers: Writers, folder: Path) -> dict[str, float]:
    """Bytes of compact files (by depth) and of the elastic file, over the learngene file's."""
    learngene.save(folder / "learngene.safetensors", overwrite=True)
    whole = (folder / "learngene.safetensors").stat().st_size
    sizes = {f"compact depth {depth}": writers.compact(depth).stat().st_size / whole for depth in DEPTHS}
    return {**sizes, "elastic": writers.elastic().stat().st_size / whole}


def measure_latency(paths: Mapping[str, Path], batch: int, runs: int) -> dict[str, dict[str, float]]:
    """Median CPU milliseconds of each file by name, and its ratio to the first one's."""
    sessions = {name: open_session(path) for name, path in paths.items()}
    images = np.random.default_rng(batch).standard_normal((batch, 3, 224, 224), dtype=np.float32)
    milliseconds: dict[str, list[float]] = {name: [] for name in paths}
    for turn in range(runs + 2):
        for name, session in sessions.items():
            feed = {"images": images} | ({"depth": np.array(DEPTH, np.int64)} if name == "onnx-elastic" else {})
            begin = time.thread_time()
            session.run(["logits"], feed)
            if turn >= 2:
                milliseconds[name].append(1000 * (time.thread_time() - begin))
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    first = next(iter(medians.values()))
    return {name: {"milliseconds": value, "ratio": value / first} for name, value in medians.items()}


def open_session(path: Path) -> Any:
    """Open a file in ONNX Runtime, for one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(quick: bool) -> dict[str, Any]:
    """Measure everything and return it as a document."""
    torch.set_num_threads(1)
    document: dict[str, Any] = {"sizes": {}, "latency": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for letter in NAMES:
            learngene = random_learngene(NAMES[letter])
            writers = Writers(learngene, folder)
            document["sizes"][letter] = measure_sizes(learngene, writers, folder)
            if letter != "S":
                continue
            document["writing"] = measure_writing(writers, 1 if quick else 3)
            paths = {
                "torch.onnx.export": writers.traced(),
                "onnx": writers.plain(),
                "onnx-compact": writers.compact(),
                "onnx-elastic": writers.elastic(),
            }
            for batch, runs in ((1, 60), (8, 15)):
                document["latency"][str(batch)] = measure_latency(paths, batch, max(3, runs // 6) if quick else runs)
    return document


def lines(document: Mapping[str, Any]) -> Sequence[str]:
    """The document for people: one line a figure, with what the project promises."""
    writing = document["writing"]
    faster = f"{writing['torch_over_ours']:.0f} times faster (at least {WRITING_AT_LEAST:.0f})"
    seconds = f"{writing['ours_seconds']:.2f} s, torch.onnx.export {writing['torch_seconds']:.2f} s"
    result = [f"writing S/12: {seconds}: {faster}"]
    for letter, sizes in document["sizes"].items():
        for what, ratio in sizes.items():
            result.append(f"size {letter} {what}: {ratio:.4f} of the learngene file (at most {SIZE_AT_MOST})")
    for batch, figures in document["latency"].items():
        for what, figure in figures.items():
            promise = f" (at most {LATENCY_AT_MOST[what][int(batch)]:.2f})" if what in LATENCY_AT_MOST else ""
            text = f"latency S/12 batch {batch} {what}: {figure['milliseconds']:.1f} ms, ratio {figure['ratio']:.3f}"
            result.append(text + promise)
    return result


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    arguments = parser.parse_args()
    document = measure(arguments.quick)
    print(json.dumps(document, indent=2) if arguments.json else "\n".join(lines(document)))


if __name__ == "__main__":
    main()
