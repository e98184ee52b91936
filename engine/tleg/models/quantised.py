"""Values that are whole numbers times scales, in 8 or 4 bits.

A scale has 17 significant bits, so that its product with a whole number up to 127 is a float32 exactly. Whoever
multiplies, in whatever order, gets the same values, and rounding those values again gives the same whole numbers.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_SCALE_BITS: Final = 17
# Below this a float32 has no room left for the product of whole number and scale.
NOTHING: Final = 2.0**-100


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedTensor:
    """Values that are whole numbers times scales.

    values  int8: -127 to 127, or of 4 bits -8 to 7
    scales  float32, of as many axes. Along each, values in a row share a scale, as many as one length is in the other: all
            where it is 1, and none where the lengths are equal
    bits    of a value where it is stored
    """

    values: Array
    scales: Array
    bits: Literal[4, 8] = 8

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.values.ndim

    @property
    def size(self) -> int:
        """The number of values."""
        return self.values.size

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | None) -> "QuantisedTensor":
        return QuantisedTensor(self.values[index], self.scales[index], self.bits)

    def transpose(self, *axes: int) -> "QuantisedTensor":
        """The same with its axes in another order."""
        return QuantisedTensor(self.values.transpose(*axes), self.scales.transpose(*axes), self.bits)

    def contiguous(self) -> "QuantisedTensor":
        """The same in C order."""
        return QuantisedTensor(np.ascontiguousarray(self.values), np.ascontiguousarray(self.scales), self.bits)

    def rows(self, start: int) -> "QuantisedTensor":
        """What begins at an index of the second axis, along which no scale is shared."""
        return QuantisedTensor(self.values[:, start:], self.scales[:, start:], self.bits)

    def split(self, count: int, axis: int) -> list["QuantisedTensor"]:
        """Equal parts along an axis, each with its scales."""
        scales, length, blocks = self.scales, self.values.shape[axis], self.scales.shape[axis]
        if blocks == 1:
            parts = [scales] * count
        else:
            # Blocks that a cut goes through become smaller ones with the same scale.
            block = length // blocks
            repeats = block // math.gcd(block, length // count)
            parts = np.split(np.repeat(scales, repeats, axis), count, axis)
        return [
            QuantisedTensor(values, part, self.bits)
            for values, part in zip(np.split(self.values, count, axis), parts, strict=True)
        ]

    def in_blocks(self) -> tuple[tuple[int, ...], Array]:
        """A shape of the values with which scales are multiplied as they are, and scales of a shape for that.

        An axis whose values share scales in blocks is two: blocks, and the values of one.
        """
        shape: list[int] = []
        shared: list[int] = []
        for length, blocks in zip(self.values.shape, self.scales.shape, strict=True):
            split = 1 < blocks < length
            shape += (blocks, length // blocks) if split else (length,)
            shared += (blocks, 1) if split else (blocks,)
        return tuple(shape), self.scales.reshape(shared)

    def floats(self) -> NDArray[np.float32]:
        """The values as float32, exactly."""
        shape, scales = self.in_blocks()
        products: NDArray[np.float32] = self.values.astype(np.float32).reshape(shape) * scales
        # Of a scale below zero a zero would be one below zero.
        products += np.float32(0)
        return products.reshape(self.values.shape)


def as_floats(values: "Array | QuantisedTensor") -> Array:
    """The values as float32."""
    return values.floats() if isinstance(values, QuantisedTensor) else values


def short(scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round scales to so few bits that their products with whole numbers are exact."""
    mantissa, exponent = np.frexp(scales)
    rounded: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(mantissa, _SCALE_BITS)), exponent - _SCALE_BITS)
    return rounded
