"""Which evaluation of a run is called its best: one rule for checkpoints, events, headlines and all that is shown."""

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def best_of(scored: Iterable[tuple[float | None, int, Item]]) -> Item | None:
    """Return the item with the highest score, of equals that of the latest step; None when none has a score.

    scored  (accuracy in percent, or None where it was not measured; step; item), in any order
    """
    known = [(score, step, item) for score, step, item in scored if score is not None]
    return max(known, key=lambda each: each[:2])[2] if known else None
