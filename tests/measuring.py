"""What works cost a processor, so that they can be compared on a machine that is busy with other things."""

import time
from collections.abc import Callable
from typing import Any


def processor_seconds(*works: Callable[[], Any], rounds: int = 7) -> list[float]:
    """Return the least processor time of each work, in seconds. They take turns: a slow moment hits all of them."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for each, work in zip(times, works, strict=True):
            start = time.thread_time()
            work()
            each.append(time.thread_time() - start)
    return [min(each) for each in times]
