"""Building an ONNX graph: nodes and initializers by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from tleg.export.formats import Arithmetic
from tleg.export.onnx.file import Values
from tleg.models.float16 import to_float16
from tleg.models.int4 import LEAST, pack
from tleg.models.quantised import QuantisedTensor

ONNX_TYPES: Final = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


@dataclass(slots=True)
class Graph:
    """A graph under construction. Every value is known by its name, and every node has one output or a few.

    The body of a Loop is a graph of its own whose nodes may use the names of the graph around it.
    """

    precision: Arithmetic
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, Values] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node and return the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def split(self, value: str, outputs: Sequence[str], **attributes: Any) -> None:
        """Append a Split into equal parts."""
        self.nodes.append(
            helper.make_node("Split", [value], outputs, name=outputs[0], num_outputs=len(outputs), **attributes)
        )

    def initializer(self, name: str, values: Values) -> str:
        """Keep an array under a name and return the name. A name that is known keeps its array."""
        self.initializers.setdefault(name, values)
        return name

    def weight(self, name: str, values: Values | QuantisedTensor) -> str:
        """Keep floating-point values in the graph's precision. Raises ExportError for values beyond the range of float16.

        What is in 8 or 4 bits is kept so, and nodes make float32 of it.
        """
        if isinstance(values, QuantisedTensor):
            return self._floats(name, values)
        half = self.precision == "float16"
        return self.initializer(name, to_float16(name, values) if half else values.astype(self.precision, copy=False))

    def _floats(self, name: str, tensor: QuantisedTensor) -> str:
        """Add what makes float32 of whole numbers and scales.

        It is a Cast and a Mul, and no DequantizeLinear: they do the same, and of these ONNX Runtime computes what is
        constant once, when it opens the file. It leaves a DequantizeLinear to every run.
        """
        shape, scales = tensor.in_blocks()
        scale = self.initializer(f"{name}.scale", np.ascontiguousarray(scales))
        if tensor.bits == 8:
            stored = self.initializer(f"{name}.int8", np.ascontiguousarray(tensor.values))
            whole = self.add("Cast", [stored], f"{name}.whole", to=TensorProto.FLOAT)
        else:
            whole = self._unpacked(name, tensor)
        if shape == tensor.shape:
            if tensor.bits == 4:
                whole = self.add("Reshape", [whole, self.integers(*shape)], f"{name}.whole.shaped")
            return self.add("Mul", [whole, scale], name)
        blocks = self.add("Reshape", [whole, self.integers(*shape)], f"{name}.whole.blocks")
        product = self.add("Mul", [blocks, scale], f"{name}.blocks")
        return self.add("Reshape", [product, self.integers(*tensor.shape)], name)

    def _unpacked(self, name: str, tensor: QuantisedTensor) -> str:
        """Add what makes whole numbers in float32, (n / 2, 2), of bytes that hold two each.

        INT4 is a type of opset 21, which few runtimes read. Bytes, and sums and products in float32, all of them do.
        """
        stored = self.initializer(f"{name}.int4", pack(np.ascontiguousarray(tensor.values).reshape(-1, 2)))
        share, sixteen, least = (
            self.initializer(f"half.{kind}", np.array(value, np.float32))
            for kind, value in (("share", 1 / 16), ("count", 16), ("least", LEAST))
        )
        both = self.add("Cast", [stored], f"{name}.bytes", to=TensorProto.FLOAT)
        high = self.add("Floor", [self.add("Mul", [both, share], f"{name}.shifted")], f"{name}.high")
        low = self.add("Sub", [both, self.add("Mul", [high, sixteen], f"{name}.high.part")], f"{name}.low")
        halves = self.add("Concat", [low, high], f"{name}.halves", axis=1)
        return self.add("Add", [halves, least], f"{name}.whole")

    def integers(self, *values: int) -> str:
        """Keep a list of whole numbers (a shape, axes) and return its name."""
        return self.initializer(f"integers.{'_'.join(map(str, values))}", np.array(values, np.int64))

    def as_float32(self, value: str, output: str) -> str:
        """Return a value as float32: itself in a float32 graph, else the output of a Cast."""
        return value if self.precision == "float32" else self.add("Cast", [value], output, to=TensorProto.FLOAT)

    def from_float32(self, value: str, output: str) -> str:
        """Return a float32 value in the graph's precision: itself in a float32 graph, else the output of a Cast."""
        return value if self.precision == "float32" else self.add("Cast", [value], output, to=self.onnx_type)

    @property
    def onnx_type(self) -> int:
        """ONNX's number for the type of images, weights and logits."""
        return ONNX_TYPES[self.precision]
