"""Giving a graph the interface that was asked for: nodes before its images and after its logits, names, batch and opset.

What a writer or PyTorch made takes normalised 'images' (batch, C, H, W) and gives 'logits' (batch, classes) or features. It
stays as it is, between `IMAGES_INSIDE` and `LOGITS_INSIDE` where something comes before or after it. Pixels are normalised
in the order and precision of `tleg.data.transforms`, so that the same picture gives the same numbers.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper

from tleg.export.backend import Source
from tleg.export.formats import Arithmetic
from tleg.export.interface import IMAGES_INSIDE, INSIDE, LOGITS_INSIDE, Interface
from tleg.export.onnx.added import AddedNodes
from tleg.export.onnx.file import Values
from tleg.export.onnx.graph import ONNX_TYPES
from tleg.export.onnx.resize import add_resize
from tleg.learngene.header import Preprocessing
from tleg.models.output import Output

_BATCH: Final = "batch"
_GELU_SINCE: Final = 20
_SPLIT_COUNTS_SINCE: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInterface:
    """What a graph that was made becomes.

    input_size     (channels, height, width) of an image
    preprocessing  whose mean and std pixels are normalised with
    precision      that the graph computes in
    output         what it gives
    """

    interface: Interface
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing
    precision: Arithmetic
    output: Output

    @classmethod
    def of(cls, source: Source) -> "GraphInterface | None":
        """Return that of a source; None where its graphs stay as they are made."""
        if source.interface.is_usual:
            return None
        return cls(
            interface=source.interface,
            input_size=source.input_size,
            preprocessing=source.preprocessing,
            precision=source.arithmetic,
            output=source.output,
        )

    def fit(self, graph: GraphProto, initializers: Mapping[str, Values]) -> dict[str, Values]:
        """Change a graph in place, and return its initializers with those that came to it.

        initializers  those that are not in the graph itself, by name
        """
        interface = self.interface
        images, outputs = graph.input[0].name, [each.name for each in graph.output]
        inside = {images: IMAGES_INSIDE if interface.changes_input else interface.input_name}
        names = interface.names_of(self.output)
        inside |= dict(zip(outputs, [LOGITS_INSIDE] if interface.changes_output else names, strict=True))
        # A value inside of the graph that has a name which was asked for gets another one.
        wanted = {interface.input_name, *names}
        taken = {name for name in (*_values_of(graph), *initializers) if name in wanted and name not in inside}
        renamed = inside | {name: f"{name}.inside" for name in taken}
        _rename(graph, renamed)
        values = {renamed.get(name, name): array for name, array in initializers.items()}
        _lower(graph, interface.opset, values, self.precision)
        after: list[NodeProto] = []
        if interface.changes_input:
            before = AddedNodes(values)
            self._enter(graph, before)
            # Nodes are in the order in which they are computed.
            kept = [*before.nodes, *graph.node]
            del graph.node[:]
            graph.node.extend(kept)
        if interface.changes_output:
            leaving = AddedNodes(values)
            self._leave(graph, leaving)
            after = leaving.nodes
        graph.node.extend(after)
        if interface.batch is not None:
            _fix_batch(graph, interface.batch)
        return values

    def _enter(self, graph: GraphProto, nodes: AddedNodes) -> None:
        """Add what makes normalised images from the input, and declare that."""
        channels, height, width = self.input_size
        last, resized = self.interface.layout == "nhwc", self.interface.resize == "inside"
        sides: tuple[str | int, ...] = ("height", "width") if resized else (height, width)
        shape: list[str | int | None] = [_BATCH, *((*sides, channels) if last else (channels, *sides))]
        pixels = self.interface.input == "uint8"
        kind = TensorProto.UINT8 if pixels else ONNX_TYPES[self.precision]
        graph.input[0].CopyFrom(helper.make_tensor_value_info(self.interface.input_name, kind, shape))
        x = self.interface.input_name
        if pixels and not resized:
            x = nodes.add("Cast", [x], "cast", to=TensorProto.FLOAT)
        if last:
            x = nodes.add("Transpose", [x], "transposed", perm=[0, 3, 1, 2])
        if resized:
            x = add_resize(nodes, x, self.preprocessing, height)
        if pixels:
            x = nodes.add("Div", [x, nodes.constant("white", np.array(255, np.float32))], "unit")
            for operator, name, numbers in (
                ("Sub", "mean", self.preprocessing.mean),
                ("Div", "std", self.preprocessing.std),
            ):
                x = nodes.add(operator, [x, nodes.constant(name, np.array(numbers, np.float32).reshape(-1, 1, 1))], name)
            if self.precision == "float16":
                x = nodes.add("Cast", [x], "rounded", to=TensorProto.FLOAT16)
        nodes.nodes[-1].output[0] = IMAGES_INSIDE

    def _leave(self, graph: GraphProto, nodes: AddedNodes) -> None:
        """Add what makes the outputs from logits, and declare those. They are float32 and int64, whatever the graph is."""
        x, interface = LOGITS_INSIDE, self.interface
        classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
        names = interface.names_of(self.output)
        if self.precision == "float16":
            x = nodes.add("Cast", [x], "logits.float32", to=TensorProto.FLOAT)
        if interface.softmax:
            x = nodes.add("Softmax", [x], "softmax", axis=-1)
        if interface.top is not None:
            count = nodes.constant("top", np.array([interface.top], np.int64))
            nodes.nodes.append(
                helper.make_node("TopK", [x, count], list(names), name=f"{INSIDE}best", axis=-1, largest=1, sorted=1)
            )
        else:
            nodes.nodes[-1].output[0] = names[0]
        del graph.output[:]
        for name, kind in zip(names, (TensorProto.FLOAT, TensorProto.INT64), strict=False):
            graph.output.append(helper.make_tensor_value_info(name, kind, [_BATCH, interface.top or classes]))


def without_interface(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return what the graph of a file computes between its normalised images and its logits or features.

    The first input is the images; the shapes of an input or output that something was added to are left open.
    """
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    graph = inner.graph
    own = [node for node in graph.node if not node.name.startswith(INSIDE)]
    if len(own) == len(graph.node):
        return model
    kind = _type_of(model)
    if any(IMAGES_INSIDE in node.input for node in own):
        graph.input[0].CopyFrom(helper.make_tensor_value_info(IMAGES_INSIDE, kind, None))
    if any(LOGITS_INSIDE in node.output for node in own):
        del graph.output[:]
        graph.output.append(helper.make_tensor_value_info(LOGITS_INSIDE, kind, None))
    del graph.node[:]
    graph.node.extend(own)
    return inner


def after_entrance(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a file that takes the normalised images inside of another, and leaves its graph as that does."""
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    nodes = list(inner.graph.node)
    entered = next((index for index, node in enumerate(nodes, 1) if IMAGES_INSIDE in node.output), 0)
    if entered:
        kind = _type_of(model)
        inner.graph.input[0].CopyFrom(helper.make_tensor_value_info(IMAGES_INSIDE, kind, None))
        del inner.graph.node[:]
        inner.graph.node.extend(nodes[entered:])
    return inner


def _type_of(model: onnx.ModelProto) -> int:
    """ONNX's number for the type of the normalised images and the logits of a file."""
    half = any(each.key == "dtype" and each.value == "float16" for each in model.metadata_props)
    return ONNX_TYPES["float16" if half else "float32"]


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for each in node.attribute:
        if each.HasField("g"):
            yield each.g


def _values_of(graph: GraphProto) -> Iterator[str]:
    """The names of all values in a graph and in what is inside of it."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from node.output
        for inner in _subgraphs(node):
            yield from _values_of(inner)


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for place in (node.input, node.output):
            for index, name in enumerate(place):
                if name in names:
                    place[index] = names[name]
        for inner in _subgraphs(node):
            _rename(inner, names)


def _fix_batch(graph: GraphProto, batch: int) -> None:
    """Give the axis that holds a batch of any size a number."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == _BATCH:
                axis.dim_value = batch
    for node in graph.node:
        for inner in _subgraphs(node):
            _fix_batch(inner, batch)


def _lower(graph: GraphProto, opset: int, values: dict[str, Values], precision: Arithmetic) -> None:
    """Say with older operators what an opset lacks: Gelu by its error function, and a Split into equal parts."""
    nodes: list[NodeProto] = []
    for node in graph.node:
        for inner in _subgraphs(node):
            _lower(inner, opset, values, precision)
        if node.op_type == "Gelu" and opset < _GELU_SINCE:
            nodes += _gelu(node, values, precision)
            continue
        if node.op_type == "Split" and opset < _SPLIT_COUNTS_SINCE:
            kept = [each for each in node.attribute if each.name != "num_outputs"]
            del node.attribute[:]
            node.attribute.extend(kept)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _gelu(node: NodeProto, values: dict[str, Values], precision: Arithmetic) -> list[NodeProto]:
    """x / 2 * (1 + erf(x / sqrt(2))), in an order that float16 bears and in which ONNX Runtime finds a Gelu again."""
    (x,), (output,) = node.input, node.output

    def constant(name: str, number: float) -> str:
        values[f"gelu.{name}"] = np.array(number, precision)
        return f"gelu.{name}"

    steps = (
        ("Div", [x, constant("root", math.sqrt(2))], f"{output}.scaled"),
        ("Erf", [f"{output}.scaled"], f"{output}.erf"),
        ("Add", [f"{output}.erf", constant("one", 1.0)], f"{output}.share"),
        ("Mul", [x, constant("half", 0.5)], f"{output}.half"),
        ("Mul", [f"{output}.half", f"{output}.share"], output),
    )
    return [helper.make_node(operator, inputs, [name], name=name) for operator, inputs, name in steps]
