"""ONNX files whose matrix products are of whole numbers, made from float32 files by ONNX Runtime's own quantisation.

With images for calibration it is static: every product gets QuantizeLinear and DequantizeLinear (QDQ) around it, with the
range of each activation as the images have it. Without, it is dynamic: the range is that of each input as it comes.
Weights have one scale for each output channel. What is no matrix product or convolution stays in float32: norms, softmax
and Gelu lose much and gain nothing. Convolutions are left alone where ranges are dynamic, which are slow in ONNX Runtime.

Weights take 7 bits of the 8. Processors without VNNI add pairs of products in 16 bits, which 8 bits can exceed; the
accuracy that was measured on one processor then is not that of another. It costs next to nothing.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tleg.errors import ExportError, TlegError, last_words
from tleg.export.onnx.file import check_size, is_traced, producer
from tleg.export.onnx.interface import GraphInterface
from tleg.export.precision_cost import Calibration

# What a file for `quantise` says of itself: that nothing is to be optimised in it before.
PREPARED: Final[Mapping[str, str]] = {"onnx.quant.pre_process": "onnxruntime.quant"}
_PRODUCTS: Final = ("MatMul", "Gemm")
_RUNTIME: Final = "onnxruntime"


def quantise(
    source: Path,
    target: Path,
    calibration: Calibration | None,
    metadata: Mapping[str, str],
    interface: GraphInterface | None = None,
) -> None:
    """Write a quantised file.

    source       an ONNX file in float32 whose input is 'images', written with `PREPARED` as its metadata
    calibration  images for static quantisation; None is dynamic
    metadata     texts for the model's metadata_props
    interface    how what was quantised is entered and left, in the opset of the file; its nodes stay in float32

    Raises ExportError when ONNX Runtime cannot quantise it, OSError when the disk refuses.
    """
    import onnx

    with TemporaryDirectory() as folder:
        made = Path(folder) / "quantised.onnx"
        try:
            _quantise(source, made, calibration)
        except (OSError, TlegError):
            raise
        except Exception as error:  # Of whatever kind ONNX Runtime raises for a graph.
            raise ExportError(
                f"ONNX Runtime cannot quantise this model: {last_words(error)}; use --dtype float32 or float16",
                field="dtype",
                code="unsupported",
            ) from error
        model = onnx.load(made)
    if interface is not None:
        added = interface.fit(model.graph, {})
        model.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in added.items())
    traced = ("torch",) if is_traced(onnx.load(source, load_external_data=False)) else ()
    model.producer_name, model.producer_version = "tleg", producer(*traced, _RUNTIME)
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    check_size(model.ByteSize())
    target.write_bytes(model.SerializeToString())


def _quantise(source: Path, target: Path, calibration: Calibration | None) -> None:
    from onnxruntime import quantization

    # No QuantType is asked for: both kinds of weights are QInt8 by default.
    options: dict[str, Any] = {"per_channel": True, "reduce_range": True, "nodes_to_exclude": _without_weights(source)}
    if calibration is None:
        quantization.quantize_dynamic(source, target, op_types_to_quantize=list(_PRODUCTS), **options)
        return

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed.
        """Gives the calibrator one batch after the other."""

        def __init__(self, batches: Iterator[Any]) -> None:
            self._batches = batches

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"images": batch}

    kinds = [*_PRODUCTS, "Conv"]
    quantization.quantize_static(
        source,
        target,
        Reader(calibration.batches()),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=kinds,
        # What follows, a norm or a sum, wants them in float32.
        extra_options={"OpTypesToExcludeOutputQuantization": kinds},
        **options,
    )


def _without_weights(source: Path) -> list[str]:
    """The products of two activations, as in attention: they are small, and rounding both loses more than it saves."""
    import onnx

    graph = onnx.load(source, load_external_data=False).graph
    weights = {item.name for item in graph.initializer}
    return [node.name for node in graph.node if node.op_type in _PRODUCTS and node.input[1] not in weights]


def without_ranges(path: Path) -> bytes:
    """Return a statically quantised file whose activations are not rounded; its weights are.

    Ranges fit the images that they were taken from, and cut what lies beyond. On noise, which has no meaning, the file with
    ranges may differ from its origin as it likes; this differs by the rounding of weights alone.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    exact = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    names: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in exact:
            names[node.output[0]] = exact[node.input[0]]
        elif node.op_type != "QuantizeLinear":
            kept.append(node)
    for node in kept:
        node.input[:] = [names.get(name, name) for name in node.input]
    del graph.node[:]
    graph.node.extend(kept)
    content: bytes = model.SerializeToString()
    return content
