"""The format of torch.export: a .pt2 that PyTorch loads and runs without timm, compiles, or hands on to a device's tools."""

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from tleg.errors import FileFormatError, VerificationError, last_words
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.example import TORCH_EXPORT
from tleg.export.exporting import exporting
from tleg.export.metadata import decode_metadata, encode_metadata, metadata_of, opened_as
from tleg.export.runners import model_runner
from tleg.export.torch_export.archive import read_archive
from tleg.learngene.profile import Depth

_EXPORTER: Final = "torch.export"
_TYPES: Final = {"float32": torch.float32, "float16": torch.float16}
# What PyTorch notes of a node's lines of Python, with the paths of the machine that traced it.
_TRACES: Final = ("stack_trace", "nn_module_stack", "source_fn_stack")


class TorchExportBackend(Backend):
    """One archive: the graph of a model, its weights, and the metadata as extra files."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write an archive. Raises ExportError, OSError."""
        texts = encode_metadata(metadata_of(source, self.format, depth))
        program = trace(source.model(depth), source.input_size)
        # By an open file, because a path would name the root of the archive.
        with path.open("wb") as file:
            torch.export.save(program, file, extra_files=texts)

    def example(self, path: Path, source: Source) -> str | None:
        """The lines that look at one picture with PyTorch."""
        return self.lines(path, source, TORCH_EXPORT)

    def open(self, path: Path) -> OpenExport:
        """Open an archive; nothing in it is unpickled. Raises InputError, FileFormatError."""
        texts = read_archive(path)
        try:
            metadata = decode_metadata(texts)
            if metadata.format is not self.format or metadata.interface is not None:
                raise FileFormatError(f"the file says that it is of the format '{metadata.kind}', or has a graph of ONNX")
            if metadata.model.dtype not in _TYPES:
                raise FileFormatError(f"the file says that its weights are {metadata.model.dtype}")
        except FileFormatError as error:
            raise FileFormatError(f"{path} is not a usable export: {error}") from error
        model = _load(path)
        kind = _TYPES[metadata.model.dtype]

        def give(images: Tensor) -> Any:
            try:
                return model(images.to(kind))
            except Exception as error:  # Of an operator, or of a size that the graph does not take.
                raise VerificationError(f"PyTorch cannot run {path.name}: {last_words(error)}") from error

        return opened_as(path, metadata, model_runner(lambda depth: give))


def trace(
    model: nn.Module, input_size: tuple[int, int, int], *, batch: int | None = None, most: int | None = None
) -> torch.export.ExportedProgram:
    """Trace a model in eval mode: images (batch, C, H, W) of its dtype -> what it gives.

    batch  images of a batch; None for any number, or for 1 to `most`

    Raises ExportError when torch.export cannot trace it so.
    """
    parameter = next(model.parameters())
    # Two images where any number shall do: torch takes a batch of one for a constant.
    example = torch.zeros(batch or 2, *input_size, dtype=parameter.dtype, device=parameter.device)
    sizes = None if batch is not None else ({0: torch.export.Dim("batch", min=1, max=most)},)
    with exporting(_EXPORTER):
        program = torch.export.export(model, (example,), dynamic_shapes=sizes)
    program.example_inputs = None
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                node.meta = {name: value for name, value in node.meta.items() if name not in _TRACES}
    return program


def _load(path: Path) -> Any:
    """Load the model of an archive that was looked at. Raises FileFormatError."""
    try:
        # An open file, because PyTorch warns of a path with another suffix, which a file has while it is written.
        with path.open("rb") as file:
            return torch.export.load(file).module()
    except Exception as error:  # PyTorch has no exception of its own for these.
        raise FileFormatError(f"PyTorch cannot open {path}: {last_words(error)}") from error
