"""Plain ONNX: every layer's expanded weights are in the file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tleg.export.formats import BYTES_OF, Arithmetic
from tleg.export.onnx.file import check_size, write_model
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.interface import GraphInterface
from tleg.export.onnx.outputs import add_outputs, blocks_needed, finish
from tleg.export.onnx.vit import add_block, add_stem, as_stored
from tleg.learngene.architecture import Layout, Structure
from tleg.learngene.basis import Basis
from tleg.learngene.expansion import Array, expand_parameter
from tleg.learngene.structure import inner_name, is_block, layer_name
from tleg.models.output import Output


def write_plain(
    path: Path,
    structure: Structure,
    basis: Basis,
    tensors: Mapping[str, Array],
    depth: int,
    *,
    layout: Layout = "auxiliary",
    precision: Arithmetic = "float32",
    output: Output | None = None,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> int:
    """Write a descendant as one ONNX file and return its size in bytes.

    tensors   a learngene's, by its names: stacks of terms (K, *parameter), stem and head
    output    what it gives; None is logits
    metadata  texts for the model's metadata_props
    interface  what the graph becomes; None leaves it as it is

    Its input is 'images' (batch, C, H, W), its output 'logits' (batch, classes) or features, with a batch of any size. What
    follows the last block that these need is left out. The weights are those of `tleg.learngene.expansion` to the bit (in
    float16, rounded from them). Raises DepthError, ExportError.
    """
    graph = Graph(precision)
    output = output or Output()
    needed = blocks_needed(depth, output)
    coefficients = basis.coefficients(depth)[:needed]
    check_size(plain_size(tensors, needed, precision))
    for name, terms in tensors.items():
        if is_block(name):
            for layer, values in enumerate(expand_parameter(as_stored(terms), coefficients)):
                graph.weight(layer_name(layer, inner_name(name)), values)
    return _write(path, graph, structure, tensors, needed, layout, output, metadata, interface)


def write_layers(
    path: Path,
    structure: Structure,
    tensors: Mapping[str, Array],
    depth: int,
    *,
    layout: Layout = "auxiliary",
    precision: Arithmetic = "float32",
    output: Output | None = None,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> int:
    """Write a ViT whose layers have weights of their own, such as a fine-tuned descendant's, and return the size in bytes.

    tensors  by timm's names ('blocks.0.attn.qkv.weight' of shape (3 * width, width), …), the final norm always as 'norm'

    Other arguments, inputs, outputs and errors are those of `write_plain`.
    """
    graph = Graph(precision)
    check_size(sum(values.size for values in tensors.values()) * BYTES_OF[precision])
    output = output or Output()
    needed = blocks_needed(depth, output)
    inside = tuple(layer_name(layer, "") for layer in range(needed))
    for name, values in tensors.items():
        if name.startswith(inside):
            graph.weight(name, as_stored(values[np.newaxis])[0])
    return _write(path, graph, structure, tensors, needed, layout, output, metadata, interface)


def _write(
    path: Path,
    graph: Graph,
    structure: Structure,
    tensors: Mapping[str, Array],
    depth: int,
    layout: Layout,
    output: Output,
    metadata: Mapping[str, str],
    interface: GraphInterface | None,
) -> int:
    """Add all nodes to a graph that holds the layers' weights, by timm's names, and write it."""
    after = [add_stem(graph, structure, tensors)]
    for layer in range(depth):
        prefix = layer_name(layer, "")
        after.append(add_block(graph, structure, after[-1], prefix, prefix.__add__, prefix.rstrip(".")))
    outputs = add_outputs(graph, structure, after[1:], tensors, layout, output)
    return write_model(path, finish(graph, structure, outputs), graph.initializers, metadata, interface=interface)


def plain_size(tensors: Mapping[str, Array], depth: int, precision: Arithmetic) -> int:
    """The bytes of a descendant's weights, from the shapes of a learngene's tensors."""
    values = sum(terms[0].size * depth if is_block(name) else terms.size for name, terms in tensors.items())
    return values * BYTES_OF[precision]
