"""Timing functions against each other: interleaved, so that whatever else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleave(functions: Mapping[str, Callable[[], Any]], rounds: int, warmups: int = 1) -> dict[str, float]:
    """Return the median seconds of each function over so many rounds, every round calling each once."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmups + rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            result = function()
            elapsed = time.perf_counter() - start
            del result
            if turn >= warmups:
                seconds[name].append(elapsed)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(label: str, seconds: float, reference: str, reference_seconds: float, goal: str) -> None:
    """Print one ratio with its goal."""
    ratio = seconds / reference_seconds
    print(f"{label}: {seconds * 1e3:.1f} ms, {ratio:.3f} x {reference} ({reference_seconds * 1e3:.1f} ms); goal {goal}")
