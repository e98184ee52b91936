"""Writing an ONNX file tensor by tensor, and checking one.

The onnx package would copy every weight three times (array, message, serialised text) before the first byte is written. The
protobuf wire format needs none of that: the nodes are serialised by onnx, and each initializer follows as a small message
header and its array's own bytes. onnx.load reads the result like any other file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import ExportError, VerificationError
from tleg.export.interface import OPSET
from tleg.versions import versions

if TYPE_CHECKING:
    import onnx

    from tleg.export.onnx.interface import GraphInterface

Values = NDArray[Any]

MAX_BYTES: Final = 2**31 - 1  # Protobuf's limit of one message.
TRACER: Final = "torch"  # What makes the graphs that tleg does not write itself.

# Protobuf: field number << 3 | wire type 2 (length, then bytes).
_MODEL_GRAPH: Final = b"\x3a"
_GRAPH_INITIALIZER: Final = b"\x2a"
_TENSOR_RAW_DATA: Final = b"\x4a"


@dataclass(frozen=True, slots=True)
class _Tensor:
    """One initializer: all of its message but the values, then the values."""

    start: bytes
    values: Values

    @property
    def size(self) -> int:
        return len(self.start) + self.values.nbytes


def write_model(
    path: Path,
    graph: "onnx.GraphProto",
    initializers: Mapping[str, Values],
    metadata: Mapping[str, str],
    *libraries: str,
    interface: "GraphInterface | None" = None,
) -> int:
    """Write one ONNX file and return its size in bytes.

    graph         nodes, inputs and outputs, without the initializers
    initializers  by name, of any numeric type that ONNX knows
    metadata      texts for the model's metadata_props
    libraries     packages that made the graph, besides tleg
    interface     what the graph becomes before it is written; None leaves it as it is

    Raises ExportError when the file would exceed 2 GB, OSError when the disk refuses.
    """
    import onnx  # Here, because the limits of a file are asked for by exports to PyTorch as well.

    opset = OPSET
    if interface is not None:
        opset, initializers = interface.interface.opset, interface.fit(graph, initializers)
    model = onnx.ModelProto(ir_version=ir_version(opset), producer_name="tleg", producer_version=producer(*libraries))
    model.opset_import.add(domain="", version=opset)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    start = model.SerializeToString()
    nodes = graph.SerializeToString()
    tensors = [_tensor(name, values) for name, values in initializers.items()]
    graph_size = len(nodes) + sum(1 + len(_varint(tensor.size)) + tensor.size for tensor in tensors)
    start += _MODEL_GRAPH + _varint(graph_size)
    total = len(start) + graph_size
    check_size(total)
    with path.open("wb") as file:
        file.write(start)
        file.write(nodes)
        for tensor in tensors:
            file.write(_GRAPH_INITIALIZER + _varint(tensor.size) + tensor.start)
            file.write(tensor.values.reshape(-1).view(np.uint8).data)
    return total


def ir_version(opset: int) -> int:
    """The version of the file format that an opset came with."""
    import onnx

    return onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", opset)])


def opset_of(model: "onnx.ModelProto") -> int:
    """The opset of a model's operators."""
    version: int = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    return version


def producer(*libraries: str) -> str:
    """What a file says of the versions that wrote it: tleg's, and those of packages that had a part in its graph."""
    known = versions("tleg", *libraries)
    return ", ".join([known["tleg"], *(f"{name} {known[name]}" for name in libraries)])


def is_traced(model: "onnx.ModelProto") -> bool:
    """Whether PyTorch made the graph of a file that tleg wrote."""
    return f", {TRACER} " in model.producer_version


def check_size(size: int) -> None:
    """Refuse a file of more bytes than ONNX allows. Raises ExportError."""
    if size > MAX_BYTES:
        raise ExportError(
            f"the ONNX file would have {size / 1e9:.1f} GB and a single one holds 2 GB; choose a smaller depth, "
            "--dtype float16, or --export onnx-compact, which does not grow with depth",
            field=("depth", "dtype", "export"),
            code="out-of-range",
        )


def check_graph(path: Path) -> None:
    """Check an ONNX file with onnx.checker, types and shapes included. Raises VerificationError."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # ValidationError, InferenceError, and protobuf's own for broken bytes.
        reason = str(error).strip().splitlines()
        raise VerificationError(f"onnx.checker objects to {path.name}: {reason[0] if reason else 'no reason'}") from error


def _tensor(name: str, values: Values) -> _Tensor:
    import onnx

    message = onnx.TensorProto(name=name, dims=values.shape, data_type=onnx.helper.np_dtype_to_tensor_dtype(values.dtype))
    little_endian = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    return _Tensor(message.SerializeToString() + _TENSOR_RAW_DATA + _varint(values.nbytes), little_endian)


def _varint(value: int) -> bytes:
    """Protobuf's whole numbers: seven bits a byte, lowest first, the top bit set on all but the last."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
