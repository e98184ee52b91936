"""The format of ExecuTorch: a .pte, a program that its runtime runs on a device without Python and PyTorch.

What XNNPACK computes faster goes to it, by its partitioner; the rest to ExecuTorch's portable kernels. A program has no room
for texts, so that a second method, 'tleg', takes nothing and gives as JSON what the metadata of an ONNX file says.
"""

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from tleg.errors import FileFormatError, VerificationError, last_words
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.example import EXECUTORCH
from tleg.export.exporting import exporting
from tleg.export.interface import Interface, check_batch_alone
from tleg.export.metadata import ExportMetadata, decode_metadata, encode_metadata, metadata_of, opened_as
from tleg.export.runners import Arrays, as_arrays, in_batches
from tleg.export.torch_export.backend import trace
from tleg.files import require_utf8
from tleg.learngene.container import open_binary
from tleg.learngene.profile import Depth
from tleg.models.output import Output

FORWARD: Final = "forward"
ABOUT: Final = "tleg"
# Without --batch: a program plans its memory for the largest batch that it takes.
MOST_IMAGES: Final = 16
_TYPES: Final = {"float32": torch.float32, "float16": torch.float16}
_STDERR: Final = 2


class ExecutorchBackend(Backend):
    """One program: the model's method, and one that says what it is."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write a program. Raises ExportError, OSError."""
        texts = encode_metadata(metadata_of(source, self.format, depth))
        batch = source.interface.batch
        traced = trace(source.model(depth), source.input_size, batch=batch, most=MOST_IMAGES)
        with exporting("ExecuTorch"):
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            about = {ABOUT: json.dumps(texts, ensure_ascii=False)}
            lowered = to_edge_transform_and_lower(traced, partitioner=[XnnpackPartitioner()], constant_methods=about)
            program = lowered.to_executorch().buffer
        path.write_bytes(program)

    def open_to_time(self, path: Path, threads: int) -> OpenExport:
        """Open a program to be run by so many threads, which all programs of this process share. See `open`."""
        # ExecuTorch has no other way from Python. A program keeps the threads that there are when it is opened, so that
        # those opened before must not be run any more.
        with _quietly():
            from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

            _unsafe_reset_threadpool(threads)
        return self.open(path)

    def example(self, path: Path, source: Source) -> str | None:
        """The lines that look at one picture with ExecuTorch."""
        return self.lines(path, source, EXECUTORCH)

    def open(self, path: Path) -> OpenExport:
        """Open a program, whose format ExecuTorch checks first. Raises InputError, FileFormatError."""
        open_binary(path).close()
        require_utf8(path, "ExecuTorch")
        try:
            with _quietly():
                from executorch.runtime import Runtime, Verification

                program = Runtime.get().load_program(path, verification=Verification.InternalConsistency)
                names = program.method_names
                texts = program.load_method(ABOUT).execute([])[0] if {ABOUT, FORWARD} <= set(names) else "{}"
                method = program.load_method(FORWARD)
        except Exception as error:  # The runtime raises RuntimeError for all that it does not take.
            raise FileFormatError(f"ExecuTorch cannot open {path}: {last_words(error)}") from error
        try:
            metadata = _decoded(texts)
            if metadata.format is not self.format or metadata.model.dtype not in _TYPES:
                raise FileFormatError(f"it says that it is of the format '{metadata.kind}', in {metadata.model.dtype}")
        except FileFormatError as error:
            raise FileFormatError(f"{path} is not a usable export: {error}") from error
        kind = _TYPES[metadata.model.dtype]

        def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
            try:
                return as_arrays(method.execute([torch.from_numpy(np.ascontiguousarray(images)).to(kind)]))
            except Exception as error:  # Of a size that the program does not take.
                raise VerificationError(f"ExecuTorch cannot run {path.name}: {last_words(error)}") from error

        batch = None if metadata.interface is None else metadata.interface.batch
        return opened_as(path, metadata, in_batches(run, batch or MOST_IMAGES, fill=batch is not None))

    def check_interface(
        self, interface: Interface, output: Output, num_classes: int | None = None, *, traced: bool = False
    ) -> None:
        """Refuse all but a fixed batch. Raises InputError."""
        check_batch_alone(interface, self.format.name)


def _decoded(texts: object) -> ExportMetadata:
    """Read what a program says of itself, trusting nothing. Raises FileFormatError."""
    try:
        found = json.loads(str(texts))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"its method '{ABOUT}' gives no JSON") from error
    if not isinstance(found, dict):
        raise FileFormatError(f"its method '{ABOUT}' gives no object")
    return decode_metadata({name: str(text) for name, text in found.items()})


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep from the user what is said while a program is opened: that the API is new, and by C++ of the processor."""
    kept = os.dup(_STDERR)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), _STDERR)
        # What C++ writes to its streams is handed to Python's.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
