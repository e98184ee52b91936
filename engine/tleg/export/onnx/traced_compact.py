"""Compact ONNX of what PyTorch traces: its graph, with every layer's weights made from the terms.

Traced as it is, a descendant's graph has each parameter as an initializer under its own name. The exporter's optimisation
would fold them into other values, so that they could not be found any more: transposed matrices, tables of positions. It
therefore sees those of the blocks as inputs, which it cannot fold. Afterwards each is what its terms make of it, and the
work is left to the runtime, which does it once, when it opens the file.

What repeats from layer to layer, such as masks and indices, is stored once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from tleg.errors import ExportError
from tleg.export.formats import Arithmetic
from tleg.export.interface import OPSET
from tleg.export.onnx.file import TRACER, Values, write_model
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.interface import GraphInterface
from tleg.export.onnx.terms import Terms
from tleg.export.onnx.traced import optimised, trace
from tleg.export.onnx.vit import Tensor, contiguous
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis
from tleg.learngene.families import family_of
from tleg.learngene.profile import Depth
from tleg.learngene.running_statistics import is_statistic
from tleg.learngene.structure import Family
from tleg.models.output import Output
from tleg.models.quantised import QuantisedTensor


def write_traced_compact(
    path: Path,
    model: nn.Module,
    architecture: Architecture,
    basis: Basis,
    tensors: Mapping[str, Tensor],
    depth: Depth,
    *,
    precision: Arithmetic = "float32",
    output: Output | None = None,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> int:
    """Trace a descendant, write it as one ONNX file that holds terms instead of layers, and return its size in bytes.

    model      the descendant of that depth and precision, in eval mode, which gives the output
    tensors    the learngene's, by its names: stacks of terms (K, *parameter) of each stage, stem and head. Those that are
               whole numbers stay so in the file, and the model has their values
    precision  of the file
    interface  what the graph becomes; None leaves it as it is

    Its input is 'images' (batch, C, H, W), its output 'logits' (batch, classes) or others, with a batch of any size.
    Raises ExportError when torch cannot export the model, a layer's weight is not in the graph that it makes, or the file
    would exceed 2 GB; OSError when the disk refuses.
    """
    family, own, profile = family_of(architecture), model.state_dict(), architecture.profile(depth)
    layers = {
        weight: (name, layer)
        for name in tensors
        # Running statistics are few numbers, and of a variance no sum of terms.
        if (place := family.place(name)) is not None and not is_statistic(name)
        for layer in range(profile[place.stage])
        # A model that gives features has nothing that follows the last of them.
        if (weight := family.timm_name(family.layer_name(place.stage, layer, place.inner), profile)) in own
    }
    # Of stem and head what is whole numbers is one term, that one layer has.
    ends = {name: values[np.newaxis] for name, values in tensors.items() if _is_whole_end(name, values, own, family)}
    content, found = _trace_without(model, architecture.input_size, layers, ends, (output or Output()).names, interface)
    layers |= {name: (name, 0) for name in ends if name in found}
    traced = content.graph
    nodes = list(traced.node)
    orders = _orders(nodes, layers)
    graph = Graph(precision)
    coefficients = [basis.coefficients(blocks) for blocks in profile]
    stored_names = {name for name, _ in layers.values()}
    terms = {}
    for name, values in tensors.items():
        place = family.place(name)
        if place is not None and name in stored_names:
            stored = _transposed(values, orders.get(name))
            terms[name] = Terms(graph, name, stored, coefficients[place.stage])
        elif name in layers:
            terms[name] = Terms(graph, name, _transposed(ends[name], orders.get(name)), [[1.0]])
    made = {weight: terms[name].layer(layer, weight) for weight, (name, layer) in layers.items()}
    kept = []
    for node in nodes:
        if node.op_type == "Transpose" and node.input[0] in layers and layers[node.input[0]][0] in orders:
            made[node.output[0]] = made[node.input[0]]
        else:
            kept.append(node)
    once, constants = _stored_once(traced.initializer)
    _rename(kept, made | once)
    for name, values in constants.items():
        graph.initializer(name, values)
    body = helper.make_graph([*graph.nodes, *kept], "traced", traced.input[:1], traced.output)
    return write_model(path, body, graph.initializers, metadata, TRACER, interface=interface)


def _trace_without(
    model: nn.Module,
    input_size: tuple[int, int, int],
    weights: Iterable[str],
    others: Iterable[str],
    outputs: Sequence[str],
    interface: GraphInterface | None,
) -> tuple[onnx.ModelProto, set[str]]:
    """Trace a model and return what it computes, with weights as inputs, and which weights those are.

    weights  that must be, `others` that are where the graph reads them as they are

    Raises ExportError.
    """
    must, found = set(weights), set[str]()
    program = trace(model, input_size, outputs, interface)
    graph: Any = program.model.graph
    state = model.state_dict()
    for name in (*weights, *others):
        value = graph.initializers.get(name)
        if value is None or not value.uses() or not torch.equal(torch.from_numpy(value.const_value.numpy()), state[name]):
            if name not in must:
                continue
            raise ExportError(
                f"the graph that PyTorch traces does not read '{name}' as it is, so it cannot be made from terms there and "
                "--export onnx-compact cannot write it; --export onnx and pytorch can",
                field="export",
                code="unsupported",
            )
        del graph.initializers[name]
        found.add(name)
        value.const_value = None
        graph.inputs.append(value)
    return optimised(program, OPSET if interface is None else interface.interface.opset), found


def _orders(nodes: Sequence[onnx.NodeProto], layers: Mapping[str, tuple[str, int]]) -> dict[str, list[int]]:
    """Return in which order of axes terms are stored, where every layer's weight is transposed in that way before any use.

    layers  a learngene's name and the number of a layer, by the name of the weight
    """
    if any(attribute.HasField("g") for node in nodes for attribute in node.attribute):
        return {}  # A branch or a loop may use what is transposed out here as it was.
    uses: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        for name in node.input:
            if name in layers:
                uses[layers[name][0]].append(node)
    orders: dict[str, list[int]] = {}
    for name, users in uses.items():
        found = {tuple(_order(node)) for node in users}
        if len(found) == 1 and (order := [*found.pop()]):
            orders[name] = order
    return orders


def _order(node: onnx.NodeProto) -> Sequence[int]:
    """The axes of a Transpose; empty for other nodes, and where it has none."""
    return next((each.ints for each in node.attribute if each.name == "perm"), ()) if node.op_type == "Transpose" else ()


def _transposed(values: Tensor, order: Sequence[int] | None) -> Tensor:
    """Return terms (K, *parameter) with the axes of the parameter in another order."""
    return values if order is None else contiguous(values.transpose(0, *(axis + 1 for axis in order)))


def _is_whole_end(name: str, values: Tensor, own: Mapping[str, Any], family: Family) -> bool:
    """Whether a tensor is whole numbers, of stem or head, and a weight of the model."""
    return isinstance(values, QuantisedTensor) and not family.is_block(name) and name in own


def _stored_once(initializers: Iterable[onnx.TensorProto]) -> tuple[dict[str, str], dict[str, Values]]:
    """Return by which name each initializer is known, and those that are left when equal ones are one."""
    known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    names: dict[str, str] = {}
    values: dict[str, Values] = {}
    for item in initializers:
        array = numpy_helper.to_array(item)
        names[item.name] = known.setdefault((array.dtype.str, array.shape, array.tobytes()), item.name)
        if names[item.name] == item.name:
            values[item.name] = array
    return names, values


def _rename(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Give the inputs of nodes other names, those inside of branches and loops included."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g.node, names)
