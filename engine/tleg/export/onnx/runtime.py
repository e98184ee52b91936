"""Opening ONNX exports in ONNX Runtime, with what their metadata says."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import FileFormatError, VerificationError
from tleg.export.backend import OpenExport
from tleg.export.formats import Precision
from tleg.export.interface import DEPTH, LOGITS_INSIDE, PIXELS_INSIDE, Interface
from tleg.export.metadata import ExportMetadata, decode_metadata, opened_as
from tleg.export.pixels import as_input
from tleg.export.runners import Arrays, PictureRunner, Runner, in_batches
from tleg.files import require_utf8
from tleg.learngene.basis import check_depth
from tleg.learngene.container import open_binary
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth

# What rounding makes, as a part of the largest value. ONNX Runtime computes a float16 file in float32, and rounds its logits
# where they leave the graph alone.
_ROUNDING: Final = {"float32": 1e-5, "float16": 2e-3}
_RUNTIME: Final = "ONNX Runtime"
# (names of outputs, inputs by name) -> arrays
Compute = Callable[[list[str], dict[str, Any]], Sequence[Any]]
_QUIET: Final = 4  # ONNX Runtime's 'fatal': what fails is raised as well, in this process's own words.


def open_onnx(path: Path) -> OpenExport:
    """Open an ONNX file that tleg exported. Raises InputError, or FileFormatError when it is none."""
    open_binary(path).close()
    require_utf8(path, "ONNX Runtime")
    return _described(path)


def open_content(path: Path, content: bytes) -> OpenExport:
    """Open what was made of an ONNX file that tleg exported. Raises FileFormatError when ONNX Runtime refuses it."""
    return _described(path, content)


def _described(path: Path, content: bytes | None = None) -> OpenExport:
    session = _open_session(path, content)
    try:
        metadata = decode_metadata(session.get_modelmeta().custom_metadata_map)
        if metadata.opset is None:
            raise FileFormatError("the file says that it is no ONNX file")
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not a usable ONNX export: {error}") from error
    interface = metadata.interface or Interface()
    outputs: tuple[str, ...] = interface.names_of(metadata.output)
    if interface.changes_output:
        session, outputs = _with_logits(path, content), (LOGITS_INSIDE, *outputs)
    if interface.resize == "inside":
        # Images that are resized already, and normalised, are what the rest of the graph takes.
        inner = _open_inside(path, content, changes_output=interface.changes_output)
        runner = graph_runner(inner.run, path.name, metadata, outputs, _RUNTIME, interface.after_entrance)
        pictures = picture_runner(_whole(path, content, interface), path.name, metadata, _RUNTIME)
        return replace(opened_as(path, metadata, runner), pictures=pictures)
    return opened_as(path, metadata, graph_runner(session.run, path.name, metadata, outputs, _RUNTIME))


def _open_inside(path: Path, content: bytes | None, *, changes_output: bool) -> Any:
    """Return a session of what a file computes from its normalised images on. Raises FileFormatError."""
    from tleg.export.onnx.interface import after_entrance

    model = after_entrance(_loaded(path, content))
    return _open_session(path, (_giving(model, LOGITS_INSIDE) if changes_output else model).SerializeToString())


def _whole(path: Path, content: bytes | None, interface: Interface) -> Compute:
    """Return what runs the whole of a file that resizes; it is opened when it is first needed, as only checks do."""

    @cache
    def opened() -> Any:
        model = _giving(_loaded(path, content), PIXELS_INSIDE, *([LOGITS_INSIDE] if interface.changes_output else []))
        return _open_session(path, model.SerializeToString())

    return lambda outputs, feed: opened().run(list(outputs), feed)


def picture_runner(compute: Compute, name: str, metadata: ExportMetadata, runtime: str) -> PictureRunner:
    """Return what runs the whole of a file that resizes, `compute`, in a runtime of this name."""
    interface = metadata.interface or Interface()
    outputs = (LOGITS_INSIDE,) if interface.changes_output else interface.names_of(metadata.output)

    def run(depth: Depth | None, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Arrays]:
        feed = feed_of_pictures(pictures, check_depth(depth) if metadata.format.every_depth else None, interface)
        try:
            pixels, *found = compute([PIXELS_INSIDE, *outputs], feed)
        except Exception as error:  # ONNX Runtime has an exception for each of its states, OpenVINO one for all.
            raise VerificationError(f"{runtime} cannot run {name}: {_one_line(error)}") from error
        return np.asarray(pixels, np.float32), tuple(np.asarray(each, np.float32) for each in found)

    return run


def feed_of_pictures(pictures: NDArray[np.uint8], depth: int | None, interface: Interface) -> dict[str, Any]:
    """Return what a file that resizes takes, by name, for pictures (batch, H, W, C) of one size. See `feed_of`."""
    if interface.layout == "nchw":
        pictures = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    return {interface.input_name: pictures} | ({} if depth is None else {DEPTH: np.array(depth, np.int64)})


def graph_runner(
    compute: Compute,
    name: str,
    metadata: ExportMetadata,
    outputs: Sequence[str],
    runtime: str,
    interface: Interface | None = None,
) -> Runner:
    """Return what runs a file. Where it gives no logits, those inside of it are returned, and what it gives is compared
    with them.

    compute  runs it in a runtime of this name
    outputs  names, those of the logits inside first where it gives none
    interface  how what is run is entered and left; None is as the metadata says
    """
    interface = interface or metadata.interface or Interface()
    preprocessing, precision = metadata.input.preprocessing, metadata.model.dtype
    rounding = _ROUNDING["float16" if precision == "float16" else "float32"]

    def run_batch(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        number = check_depth(depth) if metadata.format.every_depth else None
        feed = feed_of(images, number, interface, preprocessing, precision)
        try:
            found = list(compute(list(outputs), feed))
        except Exception as error:  # ONNX Runtime has an exception for each of its states, OpenVINO one for all.
            raise VerificationError(f"{runtime} cannot run {name}: {_one_line(error)}") from error
        if interface.changes_output:
            logits, *given = found
            # Logits that are not finite are an error of another kind.
            if deviation(np.asarray(logits, np.float32), given, interface) > rounding:
                raise VerificationError(f"what {name} gives does not follow from its logits")
            found = [logits]
        return tuple(np.asarray(each, np.float32) for each in found)

    return run_batch if interface.batch is None else in_batches(run_batch, interface.batch, fill=True)


def feed_of(
    images: NDArray[np.float32],
    depth: int | None,
    interface: Interface,
    preprocessing: Preprocessing,
    precision: Precision,
) -> dict[str, Any]:
    """Return what a file takes, by name, for normalised images (batch, C, H, W).

    depth  of a file that holds every depth; None of others
    """
    values, kind = as_input(images, interface, preprocessing), "float16" if precision == "float16" else "float32"
    feed: dict[str, Any] = {interface.input_name: values if interface.input == "uint8" else values.astype(kind)}
    return feed if depth is None else feed | {DEPTH: np.array(depth, np.int64)}


def deviation(logits: NDArray[np.float32], given: Sequence[Any], interface: Interface) -> float:
    """How far what a file gives is from what follows from logits (batch, classes), as a part of the largest value.

    given  probabilities or logits (batch, classes), or of the best classes (batch, top) with the numbers of these

    It is infinite where shapes or numbers of classes are no such thing, and NaN where the logits are not finite.
    """
    expected = logits.astype(np.float64)
    if interface.softmax:
        powers = np.exp(expected - expected.max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
    scale = float(np.abs(expected).max()) or 1.0
    values = np.asarray(given[0], np.float64)
    if interface.top is None:
        return float(np.abs(values - expected).max()) / scale if values.shape == expected.shape else math.inf
    numbers, known = np.asarray(given[1]), set(range(expected.shape[1]))
    if not values.shape == numbers.shape == (len(logits), interface.top):
        return math.inf
    if not all(len(known & set(row)) == interface.top for row in numbers.tolist()):
        return math.inf
    # The values, descending, are those of the best classes, whichever of equal ones stands first.
    best = -np.sort(-expected, axis=1)[:, : interface.top]
    named = np.take_along_axis(expected, numbers, axis=1)
    return max(float(np.abs(each - best).max()) for each in (values, named)) / scale


def _with_logits(path: Path, content: bytes | None) -> Any:
    """Return a session of a file that gives the logits inside of it as well. Raises FileFormatError."""
    return _open_session(path, _giving(_loaded(path, content), LOGITS_INSIDE).SerializeToString())


def _loaded(path: Path, content: bytes | None) -> Any:
    """Return the model of a file, or of a content of that name."""
    import onnx

    return onnx.load(path) if content is None else onnx.load_from_string(content)


def _giving(model: Any, *names: str) -> Any:
    """Add values inside of a file to its outputs, and return it."""
    import onnx

    kind = next(each.value for each in model.metadata_props if each.key == "dtype")
    for name in names:
        # Pixels are computed in float32, whatever the graph is.
        number = onnx.TensorProto.FLOAT16 if kind == "float16" and name != PIXELS_INSIDE else onnx.TensorProto.FLOAT
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, number, None))
    return model


def _open_session(path: Path, content: bytes | None = None) -> Any:
    """Open an ONNX file, or a content of that name, on the processor. Raises FileFormatError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    # ONNX Runtime knows nothing of OMP_NUM_THREADS, with which people say how much of a shared machine to use.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        options.intra_op_num_threads = int(threads)
    try:
        return onnxruntime.InferenceSession(
            path if content is None else content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise FileFormatError(f"ONNX Runtime cannot open {path}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
