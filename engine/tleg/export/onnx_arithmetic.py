"""Numbers of an ONNX graph, to be computed with as Python's: what a basis needs (`tleg.basis_functions`)."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from onnx import TensorProto

from tleg.basis import MAX_DEPTH
from tleg.export.onnx_graph import Graph


@dataclass(frozen=True, slots=True)
class GraphArithmetic:
    """Computes in float64, of shape (1, 1), in one graph. Names begin with `prefix` and a dot."""

    graph: Graph
    prefix: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def position(self, name: str) -> "GraphValue":
        """Return the position of a layer, a value of the graph of type float64 and shape (1, 1), to compute with."""
        return GraphValue(self, name, is_position=True)

    def apply(self, operator: str, *inputs: "GraphValue | float", to: int | None = None) -> "GraphValue":
        """Add a node."""
        names = [each.name if isinstance(each, GraphValue) else self._constant(each) for each in inputs]
        output = f"{self.prefix}.{operator.lower()}{next(self._numbers)}"
        return GraphValue(self, self.graph.add(operator, names, output, **({} if to is None else {"to": to})))

    def cos(self, value: "GraphValue", /) -> "GraphValue":
        """The cosine, which runtimes have in float32."""
        angle = self.apply("Cast", value, to=TensorProto.FLOAT)
        return self.apply("Cast", self.apply("Cos", angle), to=TensorProto.DOUBLE)

    def step(self, value: "GraphValue", edge: float, /) -> "GraphValue":
        """1 where a value is at least `edge`, else 0."""
        # Some runtimes compute in float32 what is float64 in the file, and divide by way of a reciprocal.
        edge = between_positions(edge) if value.is_position else edge
        return self.apply("Cast", self.apply("GreaterOrEqual", value, edge), to=TensorProto.DOUBLE)

    def as_float32(self, value: "GraphValue | float") -> str:
        """Return the name of a value as float32."""
        if isinstance(value, GraphValue):
            return self.apply("Cast", value, to=TensorProto.FLOAT).name
        return self.graph.initializer(f"{self.prefix}.float32.{value!r}", np.full((1, 1), value, np.float32))

    def _constant(self, value: float) -> str:
        return self.graph.initializer(f"{self.prefix}.{float(value)!r}", np.full((1, 1), value, np.float64))


@dataclass(frozen=True, slots=True)
class GraphValue:
    """A number that a graph computes."""

    arithmetic: GraphArithmetic = field(repr=False)
    name: str
    is_position: bool = False

    def __add__(self, other: "GraphValue | float") -> "GraphValue":
        return self.arithmetic.apply("Add", self, other)

    def __radd__(self, other: float) -> "GraphValue":
        return self.arithmetic.apply("Add", other, self)

    def __sub__(self, other: "GraphValue | float") -> "GraphValue":
        return self.arithmetic.apply("Sub", self, other)

    def __rsub__(self, other: float) -> "GraphValue":
        return self.arithmetic.apply("Sub", other, self)

    def __mul__(self, other: "GraphValue | float") -> "GraphValue":
        return self.arithmetic.apply("Mul", self, other)

    def __rmul__(self, other: float) -> "GraphValue":
        return self.arithmetic.apply("Mul", other, self)

    def __pow__(self, other: float) -> "GraphValue":
        return self.arithmetic.apply("Pow", self, other)

    def __neg__(self) -> "GraphValue":
        return self.arithmetic.apply("Neg", self)


@cache
def between_positions(edge: float) -> float:
    """Return a number that parts the positions l / L as `edge` does, 0 < edge < 1, as far from all of them as it can be.

    Two positions of depths up to MAX_DEPTH are at least 9.5e-7 apart, so a comparison with what lies halfway between them
    comes out right in float32 as well, where 15 / 25 may be less than 0.6.
    """
    below, above = 0.0, 1.0
    for depth in range(1, MAX_DEPTH + 1):
        layer = math.ceil(edge * depth)
        while layer / depth >= edge:
            layer -= 1
        below, above = max(below, layer / depth), min(above, (layer + 1) / depth)
    return (below + above) / 2
