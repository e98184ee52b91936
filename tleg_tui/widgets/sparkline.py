"""A curve in one line of cells."""

import math
from collections.abc import Sequence
from typing import Final

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_PLAIN: Final = "_.-'"  # Each higher in its cell than the one before.


def sparkline(values: Sequence[float | None], cells: int, *, plain: bool = False) -> str:
    """Return values as blocks, the least lowest and the greatest highest; blank where nothing is known.

    Values that share a cell are averaged. Positive values are drawn by their logarithm: the first steps of a training would
    flatten all that follows. With `plain` the blocks are ASCII.
    """
    if not values or cells <= 0:
        return " " * max(cells, 0)
    levels = _PLAIN if plain else _BLOCKS
    shown = [_mean(values[cell * len(values) // cells : max((cell + 1) * len(values) // cells, 1)]) for cell in range(cells)]
    known = [value for value in shown if value is not None]
    if not known:
        return " " * cells
    if min(known) > 0:
        shown = [None if value is None else math.log(value) for value in shown]
        known = [value for value in shown if value is not None]
    low, span = min(known), max(known) - min(known)
    return "".join(" " if value is None else levels[_level(value - low, span, len(levels))] for value in shown)


def _level(height: float, span: float, levels: int) -> int:
    # A curve that has no height runs along the bottom.
    return 0 if span <= 0 else min(int(height / span * levels), levels - 1)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
