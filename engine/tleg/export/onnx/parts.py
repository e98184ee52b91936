"""An ONNX graph as what has parameters in it, and where tensors come from: what reading a model from it needs.

Constants are the initializers and what follows from them alone. A norm may be one operator or spelled out, a linear map a
product with a matrix that is transposed or not, with the sum that follows it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
# What hands on a tensor's values, each or in another order.
PASSING: Final = frozenset(
    {"Reshape", "Transpose", "Cast", "Identity", "Dropout", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Split"}
)
_ELEMENTWISE: Final = frozenset({"Mul", "Div", "Add", "Where"})


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Something with parameters.

    kind    'conv', 'linear', 'norm' or 'scale'
    given   the tensor that it takes, `made` the one that it gives
    weight  of a linear map (outputs, inputs), as torch has it
    bias    None where there is none
    node    of a convolution, for its attributes; else None
    """

    kind: str
    given: str
    made: str
    weight: Values
    bias: Values | None = None
    node: Any = None
    eps: float | None = None


class Graph:
    """A graph with its constants as arrays, and who makes and takes each tensor."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.nodes = list(graph.node)
        self.constants: dict[str, Values] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self.makers: dict[str, Any] = {}
        self.takers: dict[str, list[Any]] = defaultdict(list)
        self.outputs = [each.name for each in graph.output]
        for node in self.nodes:
            if node.op_type == "Constant":
                value = next((each.t for each in node.attribute if each.name == "value"), None)
                if value is not None:
                    self.constants[node.output[0]] = numpy_helper.to_array(value)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            elif node.op_type == "Transpose" and node.input[0] in self.constants:
                order = next((list(each.ints) for each in node.attribute if each.name == "perm"), None)
                self.constants[node.output[0]] = np.transpose(self.constants[node.input[0]], order)
            for each in node.output:
                self.makers[each] = node
            for each in node.input:
                self.takers[each].append(node)

    def parts(self) -> Iterator[Part]:
        """What has parameters, in the graph's order."""
        for node in self.nodes:
            part = self._part(node)
            if part is not None:
                yield part

    def _part(self, node: Any) -> Part | None:
        known = [self.constants.get(each) for each in node.input]
        match node.op_type:
            case "Conv":
                return None if known[1] is None else self._conv(node, known)
            case "MatMul" if known[1] is not None and known[1].ndim == 2:
                return self._linear(node.input[0], node.output[0], known[1].T)
            case "Gemm" if known[1] is not None:
                transposed = attribute(node, "transB", 0)
                weight = known[1] if transposed else known[1].T
                bias = known[2] if len(known) > 2 else None
                return Part("linear", node.input[0], node.output[0], weight, bias)
            case "LayerNormalization":
                if known[1] is None:
                    return None
                bias = known[2] if len(known) > 2 else None
                return Part("norm", node.input[0], node.output[0], known[1], bias, eps=attribute(node, "epsilon", 1e-5))
            case "Mul":
                return self._vector(node, known)
        return None

    def _conv(self, node: Any, known: Sequence[Values | None]) -> Part | None:
        assert known[1] is not None
        return Part("conv", node.input[0], node.output[0], known[1], known[2] if len(known) > 2 else None, node)

    def _linear(self, given: str, made: str, weight: Values) -> Part:
        """A product with a matrix, and the sum with a vector where that follows."""
        takers = self.takers[made]
        if len(takers) == 1 and takers[0].op_type == "Add":
            other = next(each for each in takers[0].input if each != made)
            bias = self.constants.get(other)
            if bias is not None and bias.size == len(weight):
                return Part("linear", given, takers[0].output[0], weight, bias.reshape(-1))
        return Part("linear", given, made, weight)

    def _vector(self, node: Any, known: Sequence[Values | None]) -> Part | None:
        """A product with a vector: the last of a norm that is spelled out, or a scale."""
        index = next((place for place, each in enumerate(known) if each is not None and each.size > 1), None)
        if index is None or known[1 - index] is not None:
            return None
        weight = known[index]
        assert weight is not None
        if weight.size != weight.shape[-1]:
            return None
        given, made = node.input[1 - index], node.output[0]
        maker = self.makers.get(given)
        root = None if maker is None or maker.op_type != "Div" else self.makers.get(maker.input[1])
        if maker is None or root is None or root.op_type != "Sqrt":
            return Part("scale", given, made, weight.reshape(-1))
        added = map(self.constants.get, self.makers[root.input[0]].input)
        eps = next((float(each) for each in added if each is not None), 0.0)
        taker = next((each for each in self.takers[made] if each.op_type == "Add"), None)
        bias = None if taker is None else next((self.constants.get(each) for each in taker.input if each != made), None)
        centred = self.makers[maker.input[0]]
        if taker is None or bias is None:
            return Part("norm", centred.input[0], made, weight.reshape(-1), eps=eps)
        return Part("norm", centred.input[0], taker.output[0], weight.reshape(-1), bias.reshape(-1), eps=eps)

    def sources(self, tensor: str, wanted: Mapping[str, int]) -> set[int]:
        """Which of some tensors (name -> number) a tensor's values come from, through what hands them on or scales them."""
        found, left, seen = set[int](), [tensor], set[str]()
        while left:
            each = left.pop()
            if each in wanted:
                found.add(wanted[each])
                continue
            maker = self.makers.get(each)
            if each in seen or maker is None:
                continue
            seen.add(each)
            if maker.op_type in PASSING:
                left.append(maker.input[0])
            elif maker.op_type in _ELEMENTWISE:
                left += maker.input
        return found

    def averages(self, tensor: str, features: str) -> bool:
        """Whether a tensor is made of another by a mean over tokens, and not by taking one of them."""
        while tensor != features:
            maker = self.makers.get(tensor)
            if maker is None or maker.op_type in ("ReduceMean", "GlobalAveragePool"):
                return maker is not None
            if maker.op_type == "MatMul" and maker.input[0] in self.constants:
                return True  # With a row of equal weights.
            if maker.op_type not in PASSING:
                return False
            tensor = maker.input[0]
        return False


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return a node's attribute, a number or a list of whole numbers, and the default where it has none of that name."""
    for each in node.attribute:
        if each.name == name:
            return each.f if each.type == 1 else each.i if each.type == 2 else list(each.ints)
    return default
