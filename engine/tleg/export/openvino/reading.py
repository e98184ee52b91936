"""Opening OpenVINO's folders in OpenVINO, with what their graphs say of themselves."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from tleg.errors import FileFormatError, last_words
from tleg.export.backend import OpenExport
from tleg.export.interface import IMAGES_INSIDE, LOGITS_INSIDE, PIXELS_INSIDE, Interface
from tleg.export.metadata import decode_metadata, opened_as
from tleg.export.onnx.runtime import Compute, graph_runner, picture_runner
from tleg.export.openvino.core import IN_FLOAT32, openvino_core
from tleg.export.openvino.quantised import remove_ranges
from tleg.files import require_utf8

GRAPH: Final = "openvino_model.xml"
WEIGHTS: Final = "openvino_model.bin"
TEXTS: Final = "tleg"  # Of the runtime information, what is tleg's.
RUNTIME: Final = "OpenVINO"
_TYPES: Final = ("float32", "float16", "int8")


def open_folder(path: Path, threads: int | None, *, ranges: bool = True) -> OpenExport:
    """Open a folder. Raises InputError, FileFormatError.

    threads  that run it; None leaves it to OpenVINO
    ranges   whether activations are rounded in the ranges of their calibration, where the graph is of whole numbers
    """
    for name in (GRAPH, WEIGHTS):
        if not (path / name).is_file():
            raise FileFormatError(f"{path} is not a usable export: it holds no {name}")
    require_utf8(path, RUNTIME)
    model = _read(path)
    try:
        metadata = decode_metadata(_texts(model))
        if metadata.opset is not None or metadata.kind != "openvino" or metadata.model.dtype not in _TYPES:
            raise FileFormatError(f"it says that it is of the format '{metadata.kind}', in {metadata.model.dtype}")
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not a usable export: {error}") from error
    if not ranges:
        remove_ranges(model)
    interface = metadata.interface or Interface()
    names: tuple[str, ...] = interface.names_of(metadata.output)
    given = (LOGITS_INSIDE, *names) if interface.changes_output else names
    if interface.resize == "outside":
        compute = _compile(path, model, given, threads)
        return opened_as(path, metadata, graph_runner(compute, path.name, metadata, given, RUNTIME))
    compute = _compile(path, _after_entrance(path, model), given, threads)
    runner = graph_runner(compute, path.name, metadata, given, RUNTIME, interface.after_entrance)

    @cache
    def whole() -> Compute:
        return _compile(path, _read(path), (PIXELS_INSIDE, *given), threads)

    pictures = picture_runner(lambda outputs, feed: whole()(outputs, feed), path.name, metadata, RUNTIME)
    return replace(opened_as(path, metadata, runner), pictures=pictures)


def _read(path: Path) -> Any:
    try:
        return openvino_core().read_model(str(path / GRAPH), str(path / WEIGHTS))
    except Exception as error:  # OpenVINO raises RuntimeError for all that it does not take.
        raise _unusable(path, error) from error


def _texts(model: Any) -> dict[str, str]:
    """What a graph says of itself, as texts by name; nothing where it says nothing."""
    found = model.get_rt_info([TEXTS]).value if model.has_rt_info([TEXTS]) else {}
    return {str(name): str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def _compile(path: Path, model: Any, names: Sequence[str], threads: int | None) -> Compute:
    """Return what computes a graph, of which values inside may be asked for as well. Raises FileFormatError."""
    options = dict(IN_FLOAT32) | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
    try:
        if inside := [name for name in names if name in (LOGITS_INSIDE, PIXELS_INSIDE)]:
            model.add_outputs(inside)
        compiled = openvino_core().compile_model(model, "CPU", options)
    except Exception as error:
        raise _unusable(path, error) from error

    def compute(outputs: Sequence[str], feed: dict[str, Any]) -> Sequence[Any]:
        found = compiled(feed)
        return [found[name] for name in outputs]

    return compute


def _after_entrance(path: Path, model: Any) -> Any:
    """Return a graph that takes the normalised images inside of another, and ends as that does. Raises FileFormatError."""
    import openvino

    try:
        entrance = next(
            output for node in model.get_ops() for output in node.outputs() if IMAGES_INSIDE in output.get_names()
        )
        images = openvino.opset13.parameter(entrance.get_partial_shape(), entrance.get_element_type(), IMAGES_INSIDE)
        entrance.replace(images.output(0))
        images.output(0).set_names({IMAGES_INSIDE})
        return openvino.Model(model.get_results(), [images])
    except Exception as error:  # StopIteration where there is no such value.
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(f"{RUNTIME} cannot open {path}: {last_words(error)}")
