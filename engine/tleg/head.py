"""Heads: when a descendant keeps its learngene's, and what a new one is. numpy only, so that all writers share it."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tleg.errors import InputError

HeadPolicy = Literal["kept", "new"]
MAX_CLASSES: Final = 10_000_000
NEW_HEAD_STD: Final = 0.01


@dataclass(frozen=True, slots=True)
class Head:
    """What became of the learngene's head: how many classes the descendant has, and whether it kept the head."""

    num_classes: int
    policy: HeadPolicy


def choose_head(known: int, num_classes: int | None) -> Head:
    """Keep a head of `known` classes when that number, or none, is asked for; otherwise a new one. Raises InputError."""
    if num_classes is None or num_classes == known:
        return Head(known, "kept")
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or not 1 <= num_classes <= MAX_CLASSES:
        raise InputError(f"a head has 1 to {MAX_CLASSES:,} classes, not {num_classes}")
    return Head(num_classes, "new")


def new_head(width: int, num_classes: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Return a head's initial values by timm's names: weight (classes, width) normal with std 0.01, bias (classes,) zero.

    The same seed gives the same head, whatever the format that it is written to.
    """
    weight = np.random.default_rng(seed).standard_normal((num_classes, width), dtype=np.float32)
    weight *= np.float32(NEW_HEAD_STD)
    return {"head.weight": weight, "head.bias": np.zeros(num_classes, np.float32)}
