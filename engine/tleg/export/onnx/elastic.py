"""Elastic ONNX: one file for every depth, which is its second input.

The blocks are one Loop. Its body makes the weights of layer l from the terms and t = l / depth, then computes the block.
With all terms of a parameter in one matrix (K, values), a layer's values are one product coefficients (1, K) @ terms: a
single pass over the terms, whatever the basis. Weights are made and used in pieces of about width x width, because a
piece that is still in the processor's cache when it is used saves a trip to memory (5% of the time of an S at batch 1).

t and functions of t are computed in float64, as `tleg.learngene.basis` does, so that no stage boundary is missed; the
boundaries lie where none is missed in float32 either, which runtimes without float64 compute in. In float16 the terms are
kept in float16, and a layer's weights are made in float32 and rounded.

A depth outside 1 to MAX_DEPTH never gives numbers. ONNX Runtime fails with an error that names the rule, because an index
past the end of a table is one. Other runtimes do not look (OpenVINO reads a zero there, by definition), so every value is
NaN besides; and the Loop then runs once, not a billion times.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from onnx import GraphProto, TensorProto, helper

from tleg.export.formats import Arithmetic
from tleg.export.onnx.file import write_model
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.interface import GraphInterface
from tleg.export.onnx.outputs import add_guards, add_outputs, finish
from tleg.export.onnx.vit import Tensor, add_block, add_stem, as_stored, cut
from tleg.learngene.architecture import Layout, Structure
from tleg.learngene.basis import MAX_DEPTH, Basis
from tleg.learngene.structure import inner_name, is_block
from tleg.models.float16 import check_layers
from tleg.models.output import Output
from tleg.models.quantised import QuantisedTensor


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


DEPTH = "depth"
_UNGUARDED = ".unguarded"
RULE = f"depth_must_be_1_to_{MAX_DEPTH}"


def write_elastic(
    path: Path,
    structure: Structure,
    basis: Basis,
    tensors: Mapping[str, Tensor],
    *,
    layout: Layout = "auxiliary",
    precision: Arithmetic = "float32",
    output: Output | None = None,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> int:
    """Write all descendants as one ONNX file and return its size in bytes.

    Its inputs are 'images' (batch, C, H, W) and 'depth', an int64 scalar from 1 to MAX_DEPTH; its output is 'logits'
    (batch, classes), or pooled vectors or tokens. Other arguments and errors are those of `write_plain`.
    """
    graph = Graph(precision)
    if precision == "float16":
        for name, values in tensors.items():
            if is_block(name) and not isinstance(values, QuantisedTensor):
                check_layers(name, values, basis.coefficients(MAX_DEPTH))
    x = add_stem(graph, structure, tensors)
    in_range = _add_check(graph)
    body = _body(graph, structure, basis, tensors)
    true = graph.initializer("true", np.array(True))
    x = graph.add("Loop", [_add_trips(graph, in_range), true, x], "blocks", body=body)
    outputs = add_outputs(graph, structure, [x], tensors, layout, output or Output(), _UNGUARDED)
    add_guards(graph, tuple(outputs), _UNGUARDED, _add_guard(graph, in_range))
    finished = finish(graph, structure, outputs)
    finished.input.append(helper.make_tensor_value_info(DEPTH, TensorProto.INT64, []))
    return write_model(path, finished, graph.initializers, metadata, interface=interface)


def _add_check(graph: Graph) -> str:
    """Add whether the depth is in range, and return the name of that boolean scalar."""
    least, most = (graph.initializer(f"integer.{n}", np.array(n, np.int64)) for n in (1, MAX_DEPTH))
    enough = graph.add("GreaterOrEqual", [DEPTH, least], "depth.enough")
    return graph.add("And", [enough, graph.add("LessOrEqual", [DEPTH, most], "depth.not_too_much")], "depth.in_range")


def _add_trips(graph: Graph, in_range: str) -> str:
    """Add the number of layers, int64 and (as 'depth.float64') float64: the depth, and 1 for a depth out of range."""
    one = graph.initializer("integer.1", np.array(1, np.int64))
    trips = graph.add("Where", [in_range, DEPTH, one], "depth.checked")
    graph.add("Cast", [trips], "depth.float64", to=TensorProto.DOUBLE)
    return trips


def _add_guard(graph: Graph, in_range: str) -> str:
    """Add what is added to the outputs: 0 for a depth in range; else an error, or NaN where the runtime does not look."""
    zero, one = (graph.initializer(f"integer.{n}", np.array(n, np.int64)) for n in (0, 1))
    index = graph.add("Where", [in_range, zero, one], "depth.index")
    # The name of this node is what ONNX Runtime's error shows.
    found = graph.add("Gather", [graph.weight("zeros", np.zeros(1, np.float32)), index], RULE, axis=0)
    nan = graph.weight("nan", np.array(np.nan, np.float32))
    return graph.add("Where", [in_range, found, nan], "depth.guard")


def _body(graph: Graph, structure: Structure, basis: Basis, tensors: Mapping[str, Tensor]) -> GraphProto:
    """Return the Loop's body: layer number, condition and x -> condition and x. Its initializers go to the outer graph."""
    body = Graph(graph.precision, initializers=graph.initializers)
    layer, condition, x = "layer", "layer.continue", "layer.input"
    exact = body.add("Cast", [layer], "layer.float64", to=TensorProto.DOUBLE)
    coefficients = _coefficients(body, basis, body.add("Div", [exact, "depth.float64"], "position"))
    pieces = structure.hidden // structure.width if structure.hidden % structure.width == 0 else 1
    weights = {
        piece: _add_weight(graph, body, piece, terms, coefficients)
        for name, values in tensors.items()
        if is_block(name)
        for piece, terms in cut(inner_name(name), as_stored(values), pieces).items()
    }
    output = add_block(body, structure, x, "layer.", weights.__getitem__, "layer.output", pieces=pieces)
    kept = body.add("Identity", [condition], "layer.continued")
    shape: list[str | int | None] = ["batch", structure.tokens, structure.width]
    return helper.make_graph(
        body.nodes,
        "block",
        [
            helper.make_tensor_value_info(layer, TensorProto.INT64, []),
            helper.make_tensor_value_info(condition, TensorProto.BOOL, []),
            helper.make_tensor_value_info(x, graph.onnx_type, shape),
        ],
        [
            helper.make_tensor_value_info(kept, TensorProto.BOOL, []),
            helper.make_tensor_value_info(output, graph.onnx_type, shape),
        ],
    )


def _coefficients(body: Graph, basis: Basis, position: str) -> str:
    """Add the coefficients of a layer, shape (1, K), float32, from its position in float64."""
    arithmetic = GraphArithmetic(body, "basis")
    t = arithmetic.position(body.add("Reshape", [position, body.integers(1, 1)], "basis.position"))
    values = [arithmetic.as_float32(value) for value in basis.functions(t, arithmetic)]
    return body.add("Concat", values, "coefficients", axis=1)


def _add_weight(graph: Graph, body: Graph, name: str, terms: Tensor, coefficients: str) -> str:
    """Add what makes a layer's values of one parameter (or piece) from its terms (K, *parameter), and return their name."""
    stored = f"blocks.{name}"
    if len(terms) == 1:
        return graph.weight(stored, terms[0])
    if isinstance(terms, QuantisedTensor):
        matrix = graph.add("Reshape", [graph.weight(stored, terms), graph.integers(len(terms), -1)], f"{stored}.flat")
    else:
        matrix = graph.as_float32(graph.weight(stored, terms.reshape(len(terms), -1)), f"{stored}.float32")
    values = body.add("MatMul", [coefficients, matrix], f"layer.{name}.flat")
    shaped = body.add("Reshape", [values, body.integers(*terms.shape[1:])], f"layer.{name}.shaped")
    return body.from_float32(shaped, f"layer.{name}")
