"""Resizing and centre crop inside of a graph, as `tleg.data.transforms` does it with Pillow, for pictures of any size.

ONNX has Resize with `antialias`, and ONNX Runtime's differs from Pillow by up to 15 of 255. Here each axis is a product with
a matrix of Pillow's weights, columns first, and what each pass gives is rounded to whole numbers of 0 to 255, as Pillow does
it. Rows and columns that the crop leaves out are not made.

Pillow's weights are whole numbers of 2**-22. Products of those with pixels, and sums of these, are exact in float64, so that
halves are rounded to the same side; distances are differences of whole numbers until they are divided. All of the operators
are in opset 13 already.

Pillow 13 resizes pictures more than twice as tall as wide rows first, where both sides shrink. Those before it do not,
and this does not either: a pixel of these is up to 1 of 255 off where colours change slowly, and more in noise.
"""

from dataclasses import dataclass
from math import floor
from typing import Final

import numpy as np
from onnx import TensorProto

from tleg.export.interface import PIXELS_INSIDE
from tleg.export.onnx.added import AddedNodes
from tleg.learngene.header import Preprocessing

_CUBIC: Final = -0.5  # Pillow's parameter of bicubic interpolation.
_PARTS: Final = 2.0**22  # Pillow's weights are whole numbers of so many parts.


def add_resize(nodes: AddedNodes, x: str, preprocessing: Preprocessing, size: int) -> str:
    """Add what resizes pixels (batch, C, H, W), uint8, to (batch, C, size, size), float32, and return the name of that.

    size  of a side of the crop
    """
    whole = _Whole(nodes, "resize")
    shape = nodes.add("Shape", [x], "resize.shape")
    height, width = whole.do("Gather", "height", shape, 2), whole.do("Gather", "width", shape, 3)
    shorter = whole.do("Min", "shorter", height, width)
    # As timm and torchvision round: the shorter side becomes this, the longer one is rounded down.
    becomes = floor(size / preprocessing.crop_pct)

    def weights(name: str, side: str) -> str:
        resized = whole.do("Div", f"{name}.side", whole.do("Mul", f"{name}.times", side, becomes), shorter)
        return _weights(nodes, name, side, resized, size, preprocessing.interpolation)

    rows, columns = weights("rows", height), weights("columns", width)
    x = nodes.add("Cast", [x], "resize.numbers", to=TensorProto.DOUBLE)
    x = nodes.add("MatMul", [x, nodes.add("Transpose", [columns], "columns.transposed", perm=[1, 0])], "columns.resized")
    x = _in_whole_numbers(nodes, x, "columns")
    x = nodes.add("MatMul", [rows, x], "rows.resized")
    nodes.add("Cast", [_in_whole_numbers(nodes, x, "rows")], "resized", to=TensorProto.FLOAT)
    nodes.nodes[-1].output[0] = PIXELS_INSIDE
    return PIXELS_INSIDE


@dataclass(frozen=True, slots=True)
class _Whole:
    """Arithmetic of whole numbers in a graph, int64; a number of Python's becomes a constant."""

    nodes: AddedNodes
    name: str

    def do(self, operator: str, name: str, *values: str | int) -> str:
        return self.nodes.add(operator, [self.of(each) for each in values], f"{self.name}.{name}")

    def of(self, value: str | int) -> str:
        return value if isinstance(value, str) else self.nodes.constant(f"whole.{value}", np.array(value, np.int64))


def _weights(nodes: AddedNodes, name: str, side: str, resized: str, size: int, interpolation: str) -> str:
    """Weights (size, side) of an axis: of what the centre crop leaves of it, in the pixels of the picture.

    side, resized  values of the graph: pixels of the picture and of what it is resized to, both int64
    """
    whole = _Whole(nodes, name)
    # Half of what is cropped, of two whole numbers the even one, as Python rounds.
    cropped = whole.do("Sub", "cropped", resized, size)
    half = whole.do("Div", "half", cropped, 2)
    odd = whole.do("Mul", "odd", whole.do("Mod", "rest", cropped, 2), whole.do("Mod", "half.rest", half, 2))
    first = whole.do("Add", "first", half, odd)
    # Twice the place of the middle of pixels, of those that are made and of the picture's, in parts of both sides.
    made = nodes.constant(f"{name}.made", (2 * np.arange(size, dtype=np.int64) + 1).reshape(-1, 1))
    made = whole.do("Add", "made", made, whole.do("Mul", "first.twice", first, 2))
    given = whole.do("Range", "places", 0, side, 1)
    given = whole.do("Add", "given", whole.do("Mul", "places.twice", given, 2), 1)
    apart = whole.do("Sub", "apart", whole.do("Mul", "given.at", given, resized), whole.do("Mul", "made.at", made, side))
    apart = whole.do("Abs", "apart.abs", apart)
    # A filter is wider by what a picture shrinks, which is Pillow's antialias.
    unit = whole.do("Mul", "unit", whole.do("Max", "longer", side, resized), 2)
    apart, unit = (
        nodes.add("Cast", [each], f"{name}.{part}", to=TensorProto.DOUBLE)
        for part, each in (("apart.number", apart), ("unit.number", unit))
    )
    distance = nodes.add("Div", [apart, unit], f"{name}.distance")
    weights = (_triangle if interpolation == "bilinear" else _cubic)(nodes, distance, name)
    axis = nodes.constant("last", np.array([-1], np.int64))
    weights = nodes.add("Div", [weights, nodes.add("ReduceSum", [weights, axis], f"{name}.sum")], f"{name}.shares")
    weights = nodes.add("Round", [nodes.add("Mul", [weights, _number(nodes, _PARTS)], f"{name}.parts")], f"{name}.rounded")
    return nodes.add("Div", [weights, _number(nodes, _PARTS)], f"{name}.weights")


def _triangle(nodes: AddedNodes, distance: str, name: str) -> str:
    """max(0, 1 - distance)."""
    return nodes.add("Relu", [nodes.add("Sub", [_number(nodes, 1), distance], f"{name}.slope")], f"{name}.filter")


def _cubic(nodes: AddedNodes, distance: str, name: str) -> str:
    """Keys' cubic convolution, of two pieces: up to a distance of 1, and from there to 2."""

    def horner(piece: str, *coefficients: float) -> str:
        """A polynomial of the distance; the largest power's coefficient first."""
        value = _number(nodes, coefficients[0])
        for power, each in enumerate(coefficients[1:]):
            value = nodes.add("Mul", [value, distance], f"{name}.{piece}.times{power}")
            value = nodes.add("Add", [value, _number(nodes, each)], f"{name}.{piece}.plus{power}")
        return value

    def within(limit: int) -> str:
        return nodes.add("Less", [distance, _number(nodes, limit)], f"{name}.within{limit}")

    near = horner("near", _CUBIC + 2, -(_CUBIC + 3), 0, 1)
    far = horner("far", _CUBIC, -5 * _CUBIC, 8 * _CUBIC, -4 * _CUBIC)
    outer = nodes.add("Where", [within(2), far, _number(nodes, 0)], f"{name}.outer")
    return nodes.add("Where", [within(1), near, outer], f"{name}.filter")


def _in_whole_numbers(nodes: AddedNodes, x: str, name: str) -> str:
    """Round to whole numbers of 0 to 255, halves upwards, as Pillow does after each pass."""
    x = nodes.add("Floor", [nodes.add("Add", [x, _number(nodes, 0.5)], f"{name}.half.added")], f"{name}.whole")
    return nodes.add("Clip", [x, _number(nodes, 0), _number(nodes, 255)], f"{name}.pixels")


def _number(nodes: AddedNodes, value: float) -> str:
    return nodes.constant(f"number.{value:.17g}", np.array(value, np.float64))
