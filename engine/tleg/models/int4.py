"""Matrices of blocks in 4 bits, with one scale for some values of a row that follow each other: 4.5 bits a value.

The scales are chosen for the smallest squared error. They may be below zero, so that the value of the largest size takes
the one whole number, -8, that has no counterpart.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.models.quantised import NOTHING, QuantisedTensor, short

LEAST: Final = -8
MOST: Final = 7
BLOCKS: Final = (64, 32)
# Parts of the scale by which the value of the largest size is -8. Smaller ones cut it off, and round the others less.
_PARTS: Final = tuple(part / 100 for part in range(80, 115, 2))
_Blocks = NDArray[np.float64]


def block_of(inputs: int) -> int:
    """How many values of a row of so many share a scale: 64, 32, or all of them."""
    return next((block for block in BLOCKS if inputs % block == 0), inputs)


def takes_4_bits(shape: tuple[int, ...]) -> bool:
    """Whether terms of a shape are matrices (K, out, in) whose rows can be packed, two values a byte."""
    return len(shape) == 3 and shape[-1] % 2 == 0


def quantise_blocks(values: NDArray[np.float32]) -> QuantisedTensor:
    """Round finite terms (K, out, in) to whole numbers, with scales (K, out, blocks).

    Of what `QuantisedTensor.floats` gave, the result is what that was made from.
    """
    block = block_of(values.shape[-1])
    exact = values.astype(np.float64).reshape(*values.shape[:-1], -1, block)
    found, scales = _known(exact)
    if not found.all():
        # The same values may follow from several scales: which of them it is must follow from the values alone.
        rounded = np.where(found, exact, _nearest(exact))
        found, scales = _known(rounded)
        assert found.all(), "what was rounded is of whole numbers"
        exact = rounded
    whole = np.rint(exact / scales).astype(np.int8)
    return QuantisedTensor(whole.reshape(values.shape), scales[..., 0].astype(np.float32), bits=4)


def pack(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two values of the last axis a byte, the first in its low half, each as it is above the least: 0 to 15."""
    halves = (values - LEAST).astype(np.uint8)
    return np.bitwise_or(halves[..., 0::2], np.left_shift(halves[..., 1::2], 4), dtype=np.uint8)


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What was packed, the last axis twice as long."""
    halves = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.int8)
    return (halves + np.int8(LEAST)).reshape(*packed.shape[:-1], -1)


def _peaks(blocks: _Blocks, least: float) -> _Blocks:
    """The value of the largest size of each block, with its sign; 0 where all are smaller than `least`."""
    places = np.abs(blocks).argmax(axis=-1, keepdims=True)
    peaks = np.take_along_axis(blocks, places, axis=-1)
    return np.where(np.abs(peaks) < least, 0.0, peaks)


def _known(blocks: _Blocks) -> tuple[NDArray[Any], _Blocks]:
    """Which blocks are whole numbers times a scale, and the scales (..., 1) of those, the largest there are."""
    peaks = _peaks(blocks, NOTHING / 2)  # What was rounded may be smaller than it was.
    found, scales = np.abs(blocks).max(axis=-1, keepdims=True) == 0, np.ones_like(peaks)
    for number in _by_size():
        trial = np.where(peaks == 0, 1.0, short(peaks / number))
        fits = (_round(blocks, trial) == blocks).all(axis=-1, keepdims=True) & ~found
        scales, found = np.where(fits, trial, scales), found | fits
    return found, scales


def _by_size() -> Iterator[int]:
    for size in range(1, MOST + 1):
        yield from (-size, size)
    yield LEAST


def _nearest(blocks: _Blocks) -> _Blocks:
    """The nearest whole numbers times a scale, of the scales that are tried."""
    peaks = _peaks(blocks, NOTHING)
    best = np.zeros_like(blocks)
    least = np.full_like(peaks, np.inf)
    for part in _PARTS:
        trial = np.where(peaks == 0, 1.0, short(peaks * part / LEAST))
        rounded = _round(blocks, trial)
        errors = np.square(rounded - blocks).sum(axis=-1, keepdims=True)
        best = np.where(errors < least, rounded, best)
        least = np.minimum(errors, least)
    return best


def _round(blocks: _Blocks, scales: _Blocks) -> _Blocks:
    """Whole numbers times scales, the nearest of them."""
    rounded: _Blocks = np.clip(np.rint(blocks / scales), LEAST, MOST) * scales
    return rounded
