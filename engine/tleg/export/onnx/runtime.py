"""Opening ONNX exports in ONNX Runtime, with what their metadata says."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import FileFormatError, VerificationError
from tleg.export.backend import OpenExport
from tleg.export.formats import Precision
from tleg.export.onnx.metadata import decode_metadata
from tleg.export.runners import Arrays, Runner
from tleg.files import require_utf8
from tleg.learngene.basis import check_depth
from tleg.learngene.container import open_binary
from tleg.learngene.profile import Depth

_QUIET: Final = 4  # ONNX Runtime's 'fatal': what fails is raised as well, in this process's own words.


def open_onnx(path: Path) -> OpenExport:
    """Open an ONNX file that tleg exported. Raises InputError, or FileFormatError when it is none."""
    open_binary(path).close()
    require_utf8(path, "ONNX Runtime")
    return _described(path, _open_session(path))


def open_content(path: Path, content: bytes) -> OpenExport:
    """Open what was made of an ONNX file that tleg exported. Raises FileFormatError when ONNX Runtime refuses it."""
    return _described(path, _open_session(path, content))


def _described(path: Path, session: Any) -> OpenExport:
    try:
        metadata = decode_metadata(session.get_modelmeta().custom_metadata_map)
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not a usable ONNX export: {error}") from error
    model = metadata.model
    return OpenExport(
        path=path,
        format=metadata.format,
        depth=model.depth if metadata.descendant is None else metadata.descendant.expands_to,
        num_classes=model.num_classes,
        input_size=metadata.input.size,
        preprocessing=metadata.input.preprocessing,
        precision=model.dtype,
        runner=_runner(session, path.name, model.dtype, metadata.output.names, elastic=metadata.format.every_depth),
        classes=metadata.classes,
        lineage=metadata.lineage,
        output=metadata.output,
    )


def _runner(session: Any, name: str, precision: Precision, outputs: Sequence[str], *, elastic: bool) -> Runner:
    def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        feed: dict[str, Any] = {"images": np.asarray(images, "float16" if precision == "float16" else "float32")}
        if elastic:
            feed["depth"] = np.array(check_depth(depth), np.int64)
        try:
            found = session.run(list(outputs), feed)
        except Exception as error:  # ONNX Runtime has an exception for each of its states.
            raise VerificationError(f"ONNX Runtime cannot run {name}: {_one_line(error)}") from error
        return tuple(np.asarray(each, np.float32) for each in found)

    return run


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
