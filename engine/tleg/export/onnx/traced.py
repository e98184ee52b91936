"""ONNX by torch.onnx.export, for architectures that the graph writer does not know.

Slower by far, and without compact or elastic files; but whatever timm builds and torch can trace comes out.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from torch import nn

from tleg.errors import ExportError
from tleg.export.exporting import exporting
from tleg.export.interface import OPSET, Interface
from tleg.export.onnx.file import TRACER, check_size, ir_version, opset_of, producer
from tleg.export.onnx.interface import GraphInterface

LOGITS: Final = ("logits",)
_EXPORTER: Final = "torch.onnx.export"


def write_torch(
    path: Path,
    model: nn.Module,
    input_size: tuple[int, int, int],
    outputs: Sequence[str] = LOGITS,
    *,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> int:
    """Trace a model in eval mode, write it as one ONNX file and return its size in bytes.

    input_size  (channels, height, width) of an image
    outputs     names of what the model gives
    metadata    texts for the model's metadata_props
    interface   what the graph becomes; None leaves it as it is

    Its input is 'images' (batch, C, H, W) of the model's dtype, its output 'logits' (batch, classes) or others, with a batch
    of any size. Raises ExportError when torch cannot export the model or the file would exceed 2 GB, OSError when the disk
    refuses.
    """
    check_size(sum(value.nbytes for value in model.state_dict().values()))
    content = optimised(
        trace(model, input_size, outputs, interface), OPSET if interface is None else interface.interface.opset
    )
    if interface is not None:
        added = interface.fit(content.graph, {})
        content.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in added.items())
    content.producer_name, content.producer_version = "tleg", producer(TRACER)
    onnx.helper.set_model_props(content, dict(metadata))
    serialised = content.SerializeToString()
    check_size(len(serialised))
    path.write_bytes(serialised)
    return len(serialised)


def trace(
    model: nn.Module,
    input_size: tuple[int, int, int],
    outputs: Sequence[str] = LOGITS,
    interface: GraphInterface | None = None,
) -> torch.onnx.ONNXProgram:
    """Trace a model in eval mode, as it is: each of its parameters is an initializer under its own name.

    Raises ExportError when torch cannot export the model.
    """
    import onnxscript  # noqa: F401, here, because the exporter would say no more of a broken one than that it failed.

    parameter = next(model.parameters())
    asked = Interface() if interface is None else interface.interface
    # Two images where any number shall do: torch takes a batch of one for a constant.
    example = torch.zeros(asked.batch or 2, *input_size, dtype=parameter.dtype, device=parameter.device)
    with exporting(_EXPORTER), _plain_attention(model):
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            external_data=False,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=({0: "batch"},) if asked.batch is None else None,
            opset_version=asked.opset,
            verbose=False,
            optimize=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export cannot export this architecture", field="export", code="unsupported")
    return program


def optimised(program: torch.onnx.ONNXProgram, opset: int = OPSET) -> onnx.ModelProto:
    """Return what was traced as a model of ONNX: folded where it is constant, without what the exporter notes of every node.

    That is the lines of Python behind it, with the paths of the machine that wrote the file. Raises ExportError, also for
    another opset than it should have.
    """
    with exporting(_EXPORTER):
        program.optimize()
        content: onnx.ModelProto = program.model_proto
    if opset_of(content) != opset:  # The exporter leaves what it cannot convert as it is.
        raise ExportError(
            f"torch.onnx.export wrote opset {opset_of(content)} where {opset} was asked for; choose another --opset",
            field="opset",
            code="unsupported",
        )
    content.ir_version = ir_version(opset)
    graph = content.graph
    for item in (content, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    # Call the first axis of the output as that of the input, whatever the tracer made of it.
    for value in (*graph.input[:1], *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return content


@contextlib.contextmanager
def _plain_attention(model: nn.Module) -> Iterator[None]:
    """Have timm's attention compute its products by themselves.

    torch takes its fused operator apart for ONNX, and gives the result of one with a mask (BEiT, relative positions) other
    strides than timm's next line expects.
    """
    fused: list[Any] = [module for module in model.modules() if getattr(module, "fused_attn", False) is True]
    for module in fused:
        module.fused_attn = False
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True
