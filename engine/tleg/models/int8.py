"""Matrices in 8 bits, with one scale for each output channel of each term: a quarter of the bytes of float32.

A scale has 17 significant bits, so that its product with a whole number up to 127 is a float32 exactly. Whoever
multiplies, in whatever order, gets the same values, and rounding those values again gives the same whole numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.learngene.families import family_of
from tleg.learngene.header import Architecture

Array = NDArray[Any]

LARGEST: Final = 127
_SCALE_BITS: Final = 17
# Where a scale costs more than a few hundredths of what is saved, or there is little to save.
_LEAST_VALUES: Final = 1024
_LEAST_IN_A_CHANNEL: Final = 16
# Below this a float32 has no room left for the product of whole number and scale.
_NOTHING: Final = 2.0**-100


@dataclass(frozen=True, slots=True, eq=False)
class Int8Tensor:
    """Values that are whole numbers times scales.

    values  int8, -127 to 127
    scales  float32, of as many axes; those along which a scale is shared have length 1
    """

    values: Array
    scales: Array

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

    def __getitem__(self, index: int | None) -> "Int8Tensor":
        return Int8Tensor(self.values[index], self.scales[index])

    def transpose(self, *axes: int) -> "Int8Tensor":
        """The same with its axes in another order."""
        return Int8Tensor(self.values.transpose(*axes), self.scales.transpose(*axes))

    def contiguous(self) -> "Int8Tensor":
        """The same in C order."""
        return Int8Tensor(np.ascontiguousarray(self.values), np.ascontiguousarray(self.scales))

    def rows(self, start: int) -> "Int8Tensor":
        """What begins at an index of the second axis."""
        return Int8Tensor(self.values[:, start:], self.scales[:, start:])

    def split(self, count: int, axis: int) -> list["Int8Tensor"]:
        """Equal parts along an axis, each with the scales of its channels."""
        shared = self.scales.shape[axis] == 1
        scales = [self.scales] * count if shared else np.split(self.scales, count, axis)
        return [Int8Tensor(*each) for each in zip(np.split(self.values, count, axis), scales, strict=True)]

    def floats(self) -> NDArray[np.float32]:
        """The values as float32, exactly."""
        products: NDArray[np.float32] = self.values.astype(np.float32) * self.scales
        return products


def as_floats(values: "Array | Int8Tensor") -> Array:
    """The values as float32."""
    return values.floats() if isinstance(values, Int8Tensor) else values


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


def quantise(values: NDArray[np.float32], axes: Sequence[int]) -> Int8Tensor:
    """Round finite values to whole numbers, with a scale for each index along the axes.

    Of what `Int8Tensor.floats` gave, the result is what that was made from.
    """
    shared = tuple(axis for axis in range(values.ndim) if axis not in axes)
    peaks = np.abs(values).max(axis=shared, keepdims=True).astype(np.float64)
    mantissa, exponent = np.frexp(peaks / LARGEST)
    rounded = np.ldexp(np.rint(np.ldexp(mantissa, _SCALE_BITS)), exponent - _SCALE_BITS)
    scales = np.where(peaks < _NOTHING, 1.0, rounded)
    whole = np.clip(np.rint(values / scales), -LARGEST, LARGEST).astype(np.int8)
    return Int8Tensor(whole, scales.astype(np.float32))


def quantise_tensors(architecture: Architecture, tensors: Mapping[str, Array]) -> dict[str, Array | Int8Tensor]:
    """Return a learngene's tensors with its large matrices, in terms, stem and head, in 8 bits."""
    family = family_of(architecture)
    found: dict[str, Array | Int8Tensor] = {}
    for name, values in tensors.items():
        axes = channel_axes(values.shape, terms=family.is_block(name))
        found[name] = values if axes is None else quantise(values, axes)
    return found


def rounded_tensors(architecture: Architecture, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return a learngene's tensors in float32, with the values that its large matrices have in 8 bits."""
    found = quantise_tensors(architecture, tensors)
    return {name: as_floats(each) for name, each in found.items()}
