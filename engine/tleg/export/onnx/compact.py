"""Compact ONNX: the terms are in the file, and every layer's weights are made from them in the graph.

theta_l = sum_k phi_k(l / L) Theta_k becomes Mul and Add nodes on initializers, in the order and with the rounding of
`tleg.learngene.expansion`. All their inputs are constants, so ONNX Runtime computes them once, when it opens the file, and
runs the plain graph from then on. The file hardly grows with depth. In float16 the terms are kept in float16, and added in
float32.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tleg.export.formats import Precision
from tleg.export.onnx.file import write_model
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.plain import finish
from tleg.export.onnx.vit import add_block, add_head, add_stem, as_stored
from tleg.learngene.basis import Basis
from tleg.learngene.expansion import Array
from tleg.learngene.header import Layout, Structure
from tleg.learngene.structure import inner_name, is_block, layer_name
from tleg.models.float16 import check_layers


def write_compact(
    path: Path,
    structure: Structure,
    basis: Basis,
    tensors: Mapping[str, Array],
    depth: int,
    *,
    layout: Layout = "auxiliary",
    precision: Precision = "float32",
    metadata: Mapping[str, str],
) -> int:
    """Write a descendant as one ONNX file that holds terms instead of layers, and return its size in bytes.

    Arguments, inputs, outputs and errors are those of `write_plain`.
    """
    graph = Graph(precision)
    coefficients = basis.coefficients(depth)
    terms = {name: _add_terms(graph, name, values) for name, values in tensors.items() if is_block(name)}
    if precision == "float16":
        for name in terms:
            check_layers(name, tensors[name], coefficients)
    x = add_stem(graph, structure, tensors)
    for layer, row in enumerate(coefficients):
        prefix = layer_name(layer, "")
        weights = {inner_name(name): _combine(graph, f"{prefix}{inner_name(name)}", terms[name], row) for name in terms}
        x = add_block(graph, structure, x, prefix, weights.__getitem__, prefix.rstrip("."))
    add_head(graph, structure, x, tensors, layout)
    return write_model(path, finish(graph, structure, tensors), graph.initializers, metadata)


def _add_terms(graph: Graph, name: str, values: Array) -> list[str]:
    """Keep the terms of one parameter as initializers, and return their names. A single one is shared by all layers."""
    stored = as_stored(values)
    if len(stored) == 1:
        return [graph.weight(name, stored[0])]
    names = [graph.weight(f"{name}.term{k}", term) for k, term in enumerate(stored)]
    return [graph.as_float32(term, f"{term}.float32") for term in names]


def _combine(graph: Graph, name: str, terms: Sequence[str], row: Sequence[float]) -> str:
    if len(terms) == 1:
        return terms[0]
    total = ""
    for k, (factor, term) in enumerate(zip(row, terms, strict=True)):
        if factor == 0:
            continue
        if factor != 1:
            value = np.array(factor, np.float32)
            scalar = graph.initializer(f"coefficient.{value.tobytes().hex()}", value)
            term = graph.add("Mul", [term, scalar], f"{name}.part{k}")
        total = graph.add("Add", [total, term], f"{name}.sum{k}") if total else term
    if not total:
        zero = graph.initializer("coefficient.zero", np.zeros((), np.float32))
        total = graph.add("Mul", [terms[0], zero], f"{name}.zero")
    return graph.from_float32(total, f"{name}.rounded")
