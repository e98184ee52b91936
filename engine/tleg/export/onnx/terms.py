"""Terms in a graph: their initializers, and the nodes that make a layer's weights from them.

theta_l = sum_k phi_k(l / L) Theta_k becomes Mul and Add nodes on initializers, in the order and with the rounding of
`tleg.learngene.expansion`. All their inputs are constants, so ONNX Runtime computes them once, when it opens the file, and
runs a plain graph from then on. In float16 the terms are kept in float16, and added in float32.
"""

from collections.abc import Sequence

import numpy as np

from tleg.export.onnx.graph import Graph
from tleg.export.onnx.vit import Tensor
from tleg.models.float16 import check_layers
from tleg.models.quantised import QuantisedTensor

Rows = Sequence[Sequence[float]]


class Terms:
    """The terms of one parameter in a graph, from which the layers of a stage are made.

    name          of the parameter, which the initializers' names begin with
    values        shape (K, *parameter), or (1, *parameter) when all layers share one value, as the graph uses it
    coefficients  shape (L, K): of all layers of the stage

    Raises ExportError when a layer's values are beyond the range of float16 in a graph of that.
    """

    def __init__(self, graph: Graph, name: str, values: Tensor, coefficients: Rows) -> None:
        self._graph = graph
        self._coefficients = coefficients
        # A single one is shared by all layers as it is.
        self._shared = graph.weight(name, values[0]) if len(values) == 1 else None
        self._terms: dict[int, str] = {}
        if self._shared is None:
            # Those that no layer has, such as the second of a line in a stage of one block, are left out.
            used = [k for k in range(len(values)) if any(row[k] for row in coefficients)] or [0]
            stored = {k: graph.weight(f"{name}.term{k}", values[k]) for k in used}
            self._terms = {k: graph.as_float32(term, f"{term}.float32") for k, term in stored.items()}
        if graph.precision == "float16" and not isinstance(values, QuantisedTensor):
            check_layers(name, values, coefficients)

    def layer(self, index: int, name: str) -> str:
        """Add what makes the values of a layer of the stage and return their name, which begins with `name`."""
        if self._shared is not None:
            return self._shared
        graph, total, row = self._graph, "", self._coefficients[index]
        for k, term in self._terms.items():
            if row[k] == 0:
                continue
            if row[k] != 1:
                value = np.array(row[k], np.float32)
                scalar = graph.initializer(f"coefficient.{value.tobytes().hex()}", value)
                term = graph.add("Mul", [term, scalar], f"{name}.part{k}")
            total = graph.add("Add", [total, term], f"{name}.sum{k}") if total else term
        if not total:
            zero = graph.initializer("coefficient.zero", np.zeros((), np.float32))
            total = graph.add("Mul", [next(iter(self._terms.values())), zero], f"{name}.zero")
        return graph.from_float32(total, f"{name}.rounded")
