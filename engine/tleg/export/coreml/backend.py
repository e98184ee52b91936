"""The format of CoreML: an .mlpackage, which Xcode and Apple's systems take, written by coremltools.

It is written and checked without Apple's hardware, and not run by CoreML; its manifest says so.
"""

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tleg.errors import FileFormatError, InputError, VerificationError
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.coreml.program import MODEL, program_runner, read_program, read_specification
from tleg.export.example import COREML
from tleg.export.exporting import exporting
from tleg.export.interface import Interface, check_batch_alone
from tleg.export.metadata import decode_metadata, encode_metadata, metadata_of, opened_as
from tleg.export.runners import Arrays, as_arrays, in_batches
from tleg.export.torch_export.backend import trace
from tleg.learngene.profile import Depth
from tleg.models.output import Output

# Without --batch: neither coremltools, of many models, nor the Neural Engine takes a range of sizes.
IMAGES_AT_ONCE: Final = 1
_TYPES: Final = ("float32", "float16")
# What hands a tensor on as it is, which coremltools does not know in a traced program.
_PASSING: Final = (torch.ops.aten.alias.default, torch.ops.aten.detach.default, torch.ops.aten.detach_.default)
_PARTS: Final = ("Data", "Manifest.json")


class CoremlBackend(Backend):
    """One package: program, weights, and the metadata as what the user defined."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write into a folder, which is the package. Raises ExportError, OSError."""
        # Of a float16 export the weights that are rounded, and refused where they are out of range.
        model = copy.deepcopy(source.model(depth)).float()
        program = trace(_Named(model), source.input_size, batch=source.interface.batch or IMAGES_AT_ONCE)
        texts = encode_metadata(metadata_of(source, self.format, depth))
        with exporting("coremltools"), TemporaryDirectory(dir=path) as folder:
            import coremltools as ct

            half = source.precision == "float16"
            converted: Any = ct.convert(
                _without_passing(program.run_decompositions({})),
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS15,  # The first with ML Programs.
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                outputs=[ct.TensorType(name=name, dtype=np.float32) for name in source.output.names],
                skip_model_load=True,
            )
            converted.user_defined_metadata.update(texts)
            whole = Path(folder) / "model.mlpackage"  # coremltools takes no other suffix.
            converted.save(str(whole))
            for name in _PARTS:
                (whole / name).rename(path / name)

    def example(self, path: Path, source: Source) -> str | None:
        """The lines that look at one picture with CoreML, on an Apple system."""
        return self.lines(path, source, COREML)

    def open(self, path: Path) -> OpenExport:
        """Open a package to be computed in PyTorch. Raises InputError, FileFormatError."""
        self.recognise(path)
        specification = read_specification(path)
        try:
            metadata = decode_metadata(dict(specification.description.metadata.userDefined))
            if metadata.format is not self.format or metadata.model.dtype not in _TYPES:
                raise FileFormatError(f"it says that it is of the format '{metadata.kind}', in {metadata.model.dtype}")
        except FileFormatError as error:
            raise FileFormatError(f"{path} is not a usable export: {error}") from error
        compute = program_runner(read_program(path, specification), path.name, metadata.output.names)

        def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
            if images.shape[1:] != metadata.input.size:  # Which CoreML would refuse before it computes anything.
                shapes = (" x ".join(map(str, shape)) for shape in (metadata.input.size, images.shape[1:]))
                raise VerificationError(f"{path.name} takes images of {next(shapes)}, not {next(shapes)}")
            return as_arrays(compute(images))

        batch = None if metadata.interface is None else metadata.interface.batch
        return opened_as(path, metadata, in_batches(run, batch or IMAGES_AT_ONCE, fill=True))

    def open_to_time(self, path: Path, threads: int) -> OpenExport:
        """Refuse to time a package. Raises InputError."""
        raise InputError(
            f"{path} cannot be timed here: {self.format.elsewhere}, and how long PyTorch takes says nothing of that",
            field="target",
            code="unsupported",
        )

    def recognise(self, path: Path) -> None:
        """Refuse a folder that is no package. Raises InputError."""
        if not (path / MODEL).is_file():
            raise InputError(f"{path} holds no {MODEL}, as CoreML's packages do", field="path", code="wrong-kind")

    def note(self, path: Path) -> str | None:
        """That CoreML did not run it."""
        return f"{self.format.elsewhere}, so it was not run there: coremltools reads it back, and PyTorch computes it"

    def check_interface(
        self, interface: Interface, output: Output, num_classes: int | None = None, *, traced: bool = False
    ) -> None:
        """Refuse all but a fixed batch. Raises InputError."""
        check_batch_alone(interface, self.format.name)


class _Named(nn.Module):
    """A model whose input has the name that the package's shall have."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model(images)


def _without_passing(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A traced program without operators that hand a tensor on as it is."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.op == "call_function" and node.target in _PASSING:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()
    return program
