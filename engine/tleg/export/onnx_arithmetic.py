"""Numbers of an ONNX graph, to be computed with as Python's: what a basis needs (`tleg.basis_functions`)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from tleg.export.onnx_graph import Graph


@dataclass(frozen=True, slots=True)
class GraphArithmetic:
    """Computes in float64, of shape (1, 1), in one graph. Names begin with `prefix` and a dot."""

    graph: Graph
    prefix: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def value(self, name: str) -> "GraphValue":
        """Return a value of the graph, float64 of shape (1, 1), to compute with."""
        return GraphValue(self, name)

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
