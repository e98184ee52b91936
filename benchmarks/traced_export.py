"""Compact files of what PyTorch traces: `python -m benchmarks.traced_export [--json] [--model NAME] [--depth N …]`.

Against the plain file of the same descendant, on one thread: bytes, the seconds that ONNX Runtime takes to open it, and
latency, measured as in `benchmarks.export`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.export import measure_latency, open_session, random_learngene
from tleg.export.onnx.traced import write_torch
from tleg.export.onnx.traced_compact import write_traced_compact
from tleg.models.learngene import Learngene

MODEL = "swin_tiny_patch4_window7_224"
DEPTHS = (3, 9, 18)


def measure(name: str, depths: Sequence[int], openings: int = 5, runs: int = 30) -> dict[str, Any]:
    """Measure everything and return it as a document."""
    learngene = random_learngene(name)
    document: dict[str, Any] = {"model": name, "depths": {}}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        learngene.save(folder / "learngene.safetensors")
        whole = (folder / "learngene.safetensors").stat().st_size
        document["learngene_bytes"] = whole
        for depth in depths:
            paths = write(learngene, depth, folder)
            latency = measure_latency(paths, 1, runs)
            document["depths"][str(depth)] = {
                kind: {
                    "bytes": path.stat().st_size,
                    "of_learngene": path.stat().st_size / whole,
                    "open_seconds": statistics.median(_seconds_to_open(path) for _ in range(openings)),
                    **latency[kind],
                }
                for kind, path in paths.items()
            }
    return document


def write(learngene: Learngene, depth: int, folder: Path) -> dict[str, Path]:
    """Write a descendant in both ways."""
    paths = {kind: folder / f"{kind}.onnx" for kind in ("onnx", "onnx-compact")}
    model, header = learngene.expand(depth), learngene.header
    write_torch(paths["onnx"], model, header.architecture.input_size, metadata={})
    write_traced_compact(
        paths["onnx-compact"], model, header.architecture, header.basis, learngene.tensors, depth, metadata={}
    )
    return paths


def _seconds_to_open(path: Path) -> float:
    begin = time.thread_time()
    open_session(path)
    return time.thread_time() - begin


def lines(document: Mapping[str, Any]) -> Sequence[str]:
    """The document for people: one line a file."""
    return [
        f"{document['model']} depth {depth} {kind}: {found['bytes'] / 1e6:.1f} MB, {found['of_learngene']:.4f} of the "
        f"learngene file; opens in {found['open_seconds']:.3f} s; {found['milliseconds']:.1f} ms, ratio {found['ratio']:.3f}"
        for depth, kinds in document["depths"].items()
        for kind, found in kinds.items()
    ]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--model", default=MODEL, help="a timm model that is no plain ViT")
    parser.add_argument("--depth", type=int, action="append", help="of the descendants; may be given several times")
    arguments = parser.parse_args()
    document = measure(arguments.model, arguments.depth or DEPTHS)
    print(json.dumps(document, indent=2) if arguments.json else "\n".join(lines(document)))


if __name__ == "__main__":
    main()
