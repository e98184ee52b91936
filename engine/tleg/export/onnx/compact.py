"""Compact ONNX: the terms are in the file, and every layer's weights are made from them in the graph.

The file hardly grows with depth.
"""

from collections.abc import Mapping
from pathlib import Path

from tleg.export.formats import Arithmetic
from tleg.export.onnx.file import write_model
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.interface import GraphInterface
from tleg.export.onnx.outputs import add_outputs, blocks_needed, finish
from tleg.export.onnx.terms import Terms
from tleg.export.onnx.vit import Tensor, add_block, add_stem, as_stored
from tleg.learngene.architecture import Layout, Structure
from tleg.learngene.basis import Basis
from tleg.learngene.structure import inner_name, is_block, layer_name
from tleg.models.output import Output


def write_compact(
    path: Path,
    structure: Structure,
    basis: Basis,
    tensors: Mapping[str, Tensor],
    depth: int,
    *,
    layout: Layout = "auxiliary",
    precision: Arithmetic = "float32",
    output: Output | None = None,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> int:
    """Write a descendant as one ONNX file that holds terms instead of layers, and return its size in bytes.

    Arguments, inputs, outputs and errors are those of `write_plain`.
    """
    graph = Graph(precision)
    output = output or Output()
    coefficients = basis.coefficients(depth)
    terms = {
        inner_name(name): Terms(graph, name, as_stored(values), coefficients)
        for name, values in tensors.items()
        if is_block(name)
    }
    after = [add_stem(graph, structure, tensors)]
    for layer in range(blocks_needed(depth, output)):
        prefix = layer_name(layer, "")
        weights = {inner: each.layer(layer, f"{prefix}{inner}") for inner, each in terms.items()}
        after.append(add_block(graph, structure, after[-1], prefix, weights.__getitem__, prefix.rstrip(".")))
    outputs = add_outputs(graph, structure, after[1:], tensors, layout, output)
    return write_model(path, finish(graph, structure, outputs), graph.initializers, metadata, interface=interface)
