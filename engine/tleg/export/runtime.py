"""Running ONNX exports in ONNX Runtime, with what their metadata says."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import FileFormatError, VerificationError
from tleg.export.onnx.metadata import OnnxMetadata, decode_metadata
from tleg.files import require_utf8
from tleg.learngene.basis import check_depth
from tleg.learngene.container import open_binary
from tleg.learngene.header import Preprocessing

_QUIET: Final = 4  # ONNX Runtime's 'fatal': what fails is raised as well, in this process's own words.


@dataclass(frozen=True, slots=True, eq=False)
class OnnxExport:
    """An open ONNX export."""

    path: Path
    metadata: OnnxMetadata
    session: Any

    @property
    def elastic(self) -> bool:
        """Whether the depth is an input."""
        return self.metadata.kind == "onnx-elastic"

    @property
    def depth(self) -> int | None:
        """The depth of the model; None when it is an input, or the model has none."""
        return self.metadata.model.depth

    @property
    def num_classes(self) -> int:
        """The number of logits of an image."""
        return self.metadata.model.num_classes

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits; empty when unknown."""
        return self.metadata.classes

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of an input image."""
        return self.metadata.input.size

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input."""
        return self.metadata.input.preprocessing

    @property
    def trained(self) -> Mapping[str, Any]:
        """The record of the training that the weights come from, as far as it is known."""
        folder, learngene = self.metadata.folder, self.metadata.learngene
        if folder is not None:
            return folder.training or {}
        return {} if learngene is None else learngene.learned

    def run(self, images: NDArray[Any], depth: int | None = None) -> NDArray[np.float32]:
        """Return the logits of normalised images: (batch, C, H, W) -> (batch, classes), float32.

        depth  of an elastic export; others have one of their own

        Raises DepthError for a depth out of range, VerificationError when ONNX Runtime cannot compute them.
        """
        feed: dict[str, Any] = {"images": np.asarray(images, self.metadata.model.dtype)}
        if self.elastic:
            feed["depth"] = np.array(check_depth(depth), np.int64)
        try:
            (logits,) = self.session.run(["logits"], feed)
        except Exception as error:  # ONNX Runtime has an exception for each of its states.
            raise VerificationError(f"ONNX Runtime cannot run {self.path.name}: {_one_line(error)}") from error
        return np.asarray(logits, np.float32)


def open_export(path: Path) -> OnnxExport:
    """Open an ONNX file that tleg exported. Raises InputError, or FileFormatError when it is none."""
    open_binary(path).close()
    require_utf8(path, "ONNX Runtime")
    session = _open_session(path)
    try:
        metadata = decode_metadata(session.get_modelmeta().custom_metadata_map)
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not a usable ONNX export: {error}") from error
    return OnnxExport(path, metadata, session)


def _open_session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    # ONNX Runtime knows nothing of OMP_NUM_THREADS, with which people say how much of a shared machine to use.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        options.intra_op_num_threads = int(threads)
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise FileFormatError(f"ONNX Runtime cannot open {path}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
