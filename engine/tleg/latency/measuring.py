"""Measure the latency of ONNX files on the device that runs this. It needs Python 3.9, numpy and onnxruntime, and no tleg.

`tleg benchmark` computes with it, and `tleg benchmark --bundle` puts a copy of this file beside the files to measure.
There it is a program: `python measure.py > profile.json`. So it imports nothing of tleg, and its results are plain
dictionaries, in seconds and bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# As `tleg.learngene.device` reads it.
FORMAT, VERSION = "tleg.device-profile", 1
WARM_UP_RUNS, LEAST_RUNS = 3, 10
# Of the seconds that a measurement takes, the part before anything is counted.
WARM_UP_PART = 0.15


def percentile(ordered: Sequence[float], part: float) -> float:
    """The value below which a part (0..1) of rising values lies, between neighbours as numpy interpolates by default."""
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def summarise(samples: Sequence[float]) -> dict[str, Any]:
    """Median, tails and jitter (p99 - p50) of the seconds of single runs."""
    ordered = sorted(samples)
    p50, p90, p95, p99 = (percentile(ordered, part) for part in (0.5, 0.9, 0.95, 0.99))
    return {"runs": len(ordered), "median": p50, "p90": p90, "p95": p95, "p99": p99, "jitter": p99 - p50}


def interleave(
    runs: Mapping[Any, Callable[[], object]],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[float], object] | None = None,
) -> dict[Any, list[float]]:
    """Call functions in turn for so many seconds, and return what each call of each took: key -> seconds.

    Whatever else the machine does then meets all of them alike. Each round begins with another one; the first calls are not
    counted.

    runs  key -> function without arguments
    tell  called with the part that is done, 0..1
    """
    keys = list(runs)
    begin = clock()
    for index in range(10**9):
        if index >= WARM_UP_RUNS and clock() - begin >= WARM_UP_PART * seconds:
            break
        for key in keys:
            runs[key]()
    samples: dict[Any, list[float]] = {key: [] for key in keys}
    begin, count = clock(), 0
    while count < LEAST_RUNS or clock() - begin < (1 - WARM_UP_PART) * seconds:
        for key in keys[count % len(keys) :] + keys[: count % len(keys)]:
            before = clock()
            runs[key]()
            samples[key].append(clock() - before)
        count += 1
        if tell is not None:
            tell(min(1.0, (clock() - begin) / max(1e-9, (1 - WARM_UP_PART) * seconds)))
    return samples


def fit_line(points: Sequence[tuple[int, float]]) -> dict[str, float] | None:
    """The least-squares line through (depth, seconds): {'base': seconds, 'per_layer': seconds}; None for one depth alone."""
    if len({depth for depth, _ in points}) < 2:
        return None
    mean_depth = sum(depth for depth, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((depth - mean_depth) ** 2 for depth, _ in points)
    slope = sum((depth - mean_depth) * (value - mean) for depth, value in points) / spread
    return {"base": mean - slope * mean_depth, "per_layer": slope}


def line_and_check(medians: Mapping[int, float]) -> tuple[dict[str, float] | None, dict[str, Any] | None]:
    """The line through all depths but the middle one of three or more, and how far it is from that one.

    medians  depth -> seconds

    Returns (line or None, {'depth', 'predicted', 'measured', 'error'} or None); the error is relative.
    """
    depths = sorted(medians)
    middle = depths[len(depths) // 2] if len(depths) > 2 else None
    line = fit_line([(depth, medians[depth]) for depth in depths if depth != middle])
    if line is None or middle is None:
        return line, None
    predicted, measured = line["base"] + middle * line["per_layer"], medians[middle]
    check = {"depth": middle, "predicted": predicted, "measured": measured, "error": abs(predicted - measured) / measured}
    return line, check


def device_name() -> str:
    """The processor's own name, and where the system does not tell, its architecture."""
    try:
        with open("/proc/device-tree/model", encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0 \n")
    except OSError:
        pass
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "Model", "Hardware") and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_device() -> dict[str, Any]:
    """What the figures are of: name, operating system and architecture, processors."""
    return {
        "name": device_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count() or 1,
    }


def find_provider(name: str) -> str:
    """ONNX Runtime's own name of a provider ('cpu' -> 'CPUExecutionProvider'). Raises ValueError, naming those there are."""
    import onnxruntime

    known = {each[: -len("ExecutionProvider")].lower(): each for each in onnxruntime.get_available_providers()}
    if name.lower() not in known:
        raise ValueError(f"this onnxruntime has no provider '{name}', but {', '.join(sorted(known))}")
    return str(known[name.lower()])


def open_run(path: str, provider: str, threads: int, batch: int, depth: int | None = None) -> Callable[[], None]:
    """Open an ONNX file and return a function that computes one batch of zeros.

    depth  goes into a file that holds every depth, as its second input
    """
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    images, *more = session.get_inputs()
    shape = [batch, *images.shape[1:]]
    if not all(isinstance(size, int) for size in shape):
        # A file that resizes takes any; it is given pictures of the size that it resizes to.
        _, *sides = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])["input_size"]
        named = dict(zip(("height", "width"), sides, strict=True))
        shape = [named.get(size, size) for size in shape]
    types = {"tensor(float16)": "float16", "tensor(uint8)": "uint8"}
    feed = {images.name: numpy.zeros(shape, types.get(images.type, "float32"))}
    if more:
        feed[more[0].name] = numpy.full(more[0].shape, depth, "int64")

    def run() -> None:
        session.run(None, feed)

    return run


def peak_memory() -> int:
    """The most bytes that this process ever held in memory.

    Linux counts what its parent held to `ru_maxrss` as well, so the kernel's own figure goes before it.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def probe(path: str, provider: str, threads: int, batch: int, depth: int | None) -> dict[str, Any]:
    """Seconds to open a file until its first result, and the bytes by which that made this process larger at its peak."""
    import numpy
    import onnxruntime

    # Their memory is no part of the file's.
    _ = numpy.zeros(1), onnxruntime.__version__
    before = peak_memory()
    begin = time.perf_counter()
    run = open_run(path, provider, threads, batch, depth)
    run()
    seconds = time.perf_counter() - begin
    for _ in range(3):
        run()
    return {"open_seconds": seconds, "peak_bytes": peak_memory() - before}


def probe_apart(path: str, provider: str, threads: int, batch: int, depth: int | None) -> dict[str, Any]:
    """What `probe` says, in a process of its own: peaks never fall."""
    words = [sys.executable, os.path.abspath(__file__), "--probe", json.dumps([str(path), provider, threads, batch, depth])]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure_files(
    files: Sequence[Mapping[str, Any]],
    provider: str,
    threads: int,
    batch: int,
    seconds: float,
    tell: Callable[[float], object] | None = None,
) -> list[dict[str, Any]]:
    """Measure ONNX files side by side.

    files  each with 'path' and 'depth' (a number, or None where it is not known)

    Returns the points of a device profile, one a file.
    """
    runs = {index: open_run(each["path"], provider, threads, batch, each["depth"]) for index, each in enumerate(files)}
    samples = interleave(runs, seconds, tell=tell)
    return [
        {
            "depth": each["depth"],
            **summarise(samples[index]),
            **probe_apart(each["path"], provider, threads, batch, each["depth"]),
        }
        for index, each in enumerate(files)
    ]


def profile_of(
    points: Sequence[Mapping[str, Any]], about: Mapping[str, Any], runtime: Mapping[str, str], threads: int, batch: int
) -> dict[str, Any]:
    """A device profile as a document; `about` is what was measured: export, dtype, image_size, learngene."""
    known = {each["depth"]: each["median"] for each in points if each["depth"] is not None}
    line, check = line_and_check(known) if known else (None, None)
    return {
        "format": FORMAT,
        "version": VERSION,
        "device": describe_device(),
        "runtime": runtime,
        "threads": threads,
        "batch": batch,
        **about,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "points": list(points),
        "line": line,
        "check": check,
    }


def onnx_runtime(provider: str) -> dict[str, str]:
    """The runtime's entry in a profile."""
    import onnxruntime

    return {"name": "onnxruntime", "version": onnxruntime.__version__, "provider": provider}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the files that lie beside this one, as files.json lists them, and print the profile."""
    parser = argparse.ArgumentParser(description="Measure the latency of the ONNX files beside this one.")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of one run")
    parser.add_argument("--provider", default="cpu", help="of ONNX Runtime: cpu, cuda, openvino, coreml")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.probe:
        print(json.dumps(probe(*json.loads(options.probe))))
        return 0
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "files.json"), encoding="utf-8") as file:
        bundle = json.load(file)
    try:
        provider = find_provider(options.provider)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    files = [{**each, "path": os.path.join(folder, each["path"])} for each in bundle["files"]]
    points = measure_files(files, provider, options.threads, bundle["batch"], options.seconds)
    for each in points:
        print(f"depth {each['depth']}: {1000 * each['median']:.3f} ms", file=sys.stderr)
    json.dump(
        profile_of(points, bundle["about"], onnx_runtime(provider), options.threads, bundle["batch"]), sys.stdout, indent=2
    )
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
