"""Timing functions against each other: interleaved, so that whatever else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleave(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    warmups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the median seconds of each function over so many rounds, every round calling each once.

    clock  `time.process_time` counts those of the processor, whatever else the machine does
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmups + rounds):
        for name, function in functions.items():
            start = clock()
            result = function()
            elapsed = clock() - start
            del result
            if turn >= warmups:
                seconds[name].append(elapsed)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(label: str, seconds: float, reference: str, reference_seconds: float, goal: str) -> None:
    """Print one ratio with its goal."""
    ratio = seconds / reference_seconds
    print(f"{label}: {seconds * 1e3:.1f} ms, {ratio:.3f} x {reference} ({reference_seconds * 1e3:.1f} ms); goal {goal}")
