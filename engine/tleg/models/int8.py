"""Matrices in 8 bits, with one scale for each output channel of each term: a quarter of the bytes of float32."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tleg.models.quantised import NOTHING, QuantisedTensor, short

LARGEST: Final = 127
# Where a scale costs more than a few hundredths of what is saved, or there is little to save.
_LEAST_VALUES: Final = 1024
_LEAST_IN_A_CHANNEL: Final = 16


def channel_axes(shape: Sequence[int], *, terms: bool) -> tuple[int, ...] | None:
    """The axes along which a tensor of a learngene has scales of its own; None where it is not worth 8 bits.

    terms  whether its first axis counts terms

    Of a matrix or a kernel (out, in, …) that is the axis of outputs, of position embeddings (1, tokens, width) that of
    tokens. Vectors, small matrices and those of short rows stay as they are.
    """
    own = tuple(shape[1:]) if terms else tuple(shape)
    axis = 1 if len(own) > 2 and own[0] == 1 else 0
    if len(own) < 2 or math.prod(own) < _LEAST_VALUES or math.prod(own) < _LEAST_IN_A_CHANNEL * own[axis]:
        return None
    return (0, axis + 1) if terms else (axis,)


def quantise(values: NDArray[np.float32], axes: Sequence[int]) -> QuantisedTensor:
    """Round finite values to whole numbers, with a scale for each index along the axes.

    Of what `QuantisedTensor.floats` gave, the result is what that was made from.
    """
    shared = tuple(axis for axis in range(values.ndim) if axis not in axes)
    peaks = np.abs(values).max(axis=shared, keepdims=True).astype(np.float64)
    scales = np.where(peaks < NOTHING, 1.0, short(peaks / LARGEST))
    whole = np.clip(np.rint(values / scales), -LARGEST, LARGEST).astype(np.int8)
    return QuantisedTensor(whole, scales.astype(np.float32))
