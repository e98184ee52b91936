"""Plain ONNX: every layer's expanded weights are in the file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import GraphProto, helper

from tleg.export.formats import BYTES_OF, Precision
from tleg.export.onnx.file import check_size, write_model
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.vit import IMAGES, LOGITS, add_block, add_head, add_stem, as_stored
from tleg.learngene.basis import Basis
from tleg.learngene.expansion import Array, expand_parameter
from tleg.learngene.header import Layout, Structure
from tleg.learngene.structure import inner_name, is_block, layer_name


def write_plain(
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
    """Write a descendant as one ONNX file and return its size in bytes.

    tensors   a learngene's, by its names: stacks of terms (K, *parameter), stem and head
    metadata  texts for the model's metadata_props

    Its input is 'images' (batch, C, H, W), its output 'logits' (batch, classes), with a batch of any size. The weights are
    those of `tleg.learngene.expansion` to the bit (in float16, rounded from them). Raises DepthError, ExportError.
    """
    graph = Graph(precision)
    coefficients = basis.coefficients(depth)
    check_size(plain_size(tensors, depth, precision))
    for name, terms in tensors.items():
        if is_block(name):
            for layer, values in enumerate(expand_parameter(as_stored(terms), coefficients)):
                graph.weight(layer_name(layer, inner_name(name)), values)
    return _write(path, graph, structure, tensors, depth, layout, metadata)


def write_layers(
    path: Path,
    structure: Structure,
    tensors: Mapping[str, Array],
    depth: int,
    *,
    layout: Layout = "auxiliary",
    precision: Precision = "float32",
    metadata: Mapping[str, str],
) -> int:
    """Write a ViT whose layers have weights of their own, such as a fine-tuned descendant's, and return the size in bytes.

    tensors  by timm's names ('blocks.0.attn.qkv.weight' of shape (3 * width, width), …), the final norm always as 'norm'

    Other arguments, inputs, outputs and errors are those of `write_plain`.
    """
    graph = Graph(precision)
    check_size(sum(values.size for values in tensors.values()) * BYTES_OF[precision])
    for name, values in tensors.items():
        if is_block(name):
            graph.weight(name, as_stored(values[np.newaxis])[0])
    return _write(path, graph, structure, tensors, depth, layout, metadata)


def _write(
    path: Path,
    graph: Graph,
    structure: Structure,
    tensors: Mapping[str, Array],
    depth: int,
    layout: Layout,
    metadata: Mapping[str, str],
) -> int:
    """Add all nodes to a graph that holds the layers' weights, by timm's names, and write it."""
    x = add_stem(graph, structure, tensors)
    for layer in range(depth):
        prefix = layer_name(layer, "")
        x = add_block(graph, structure, x, prefix, prefix.__add__, prefix.rstrip("."))
    add_head(graph, structure, x, tensors, layout)
    return write_model(path, finish(graph, structure, tensors), graph.initializers, metadata)


def plain_size(tensors: Mapping[str, Array], depth: int, precision: Precision) -> int:
    """The bytes of a descendant's weights, from the shapes of a learngene's tensors."""
    values = sum(terms[0].size * depth if is_block(name) else terms.size for name, terms in tensors.items())
    return values * BYTES_OF[precision]


def finish(graph: Graph, structure: Structure, tensors: Mapping[str, Array]) -> GraphProto:
    """Return the graph with its input and output, without initializers."""
    images: list[str | int | None] = ["batch", structure.channels, *structure.image_size]
    # Without a head the result is what the final norm gives.
    outputs = len(tensors["head.bias" if "head.bias" in tensors else "norm.bias"])
    return helper.make_graph(
        graph.nodes,
        "tleg",
        [helper.make_tensor_value_info(IMAGES, graph.onnx_type, images)],
        [helper.make_tensor_value_info(LOGITS, graph.onnx_type, ["batch", outputs])],
    )
