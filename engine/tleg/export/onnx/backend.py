"""The ONNX formats. Plain ViTs go through the graph writer; all else is traced by PyTorch, but for 'onnx-elastic'."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypedDict

from tleg.errors import InputError
from tleg.export.backend import Backend, OpenExport, Source
from tleg.export.example import ONNX_RUNTIME
from tleg.export.formats import BYTES_OF, QUANTISED, TERMS, Arithmetic, Precision
from tleg.export.interface import OPSET, Interface
from tleg.export.metadata import encode_metadata, metadata_of
from tleg.export.onnx.file import check_graph, check_size
from tleg.export.onnx.runtime import open_content, open_onnx
from tleg.export.onnx.vit import Tensor
from tleg.export.runners import ModelSource, Runner, Watch, one_by_one
from tleg.learngene.architecture import Layout
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth
from tleg.models.output import Output
from tleg.models.rounding import quantise_tensors

if TYPE_CHECKING:
    from tleg.export.onnx.interface import GraphInterface


class OnnxBackend(Backend):
    """One ONNX file, run by ONNX Runtime."""

    needs_model = "what PyTorch traced runs in float16 arithmetic only with the model that it was made from"

    def libraries(self, source: Source) -> tuple[str, ...]:
        """Packages that had a part in writing a file."""
        return (*super().libraries(source), *(("torch", "timm") if source.structure is None else ()))

    def example(self, path: Path, source: Source) -> str | None:
        """The lines that look at one picture with ONNX Runtime."""
        depth = source.lineage(None).learngene if self.format.every_depth else None
        return self.lines(path, source, ONNX_RUNTIME, depth=None if depth is None else depth.auxiliary_depth)

    def check_interface(
        self,
        interface: Interface,
        output: Output,
        num_classes: int | None = None,
        *,
        traced: bool = False,
    ) -> None:
        """Refuse what a graph cannot have, or no opset that the installed onnx knows. Raises InputError."""
        every_depth = self.format.every_depth
        interface.check_model(output, num_classes, every_depth=every_depth, traced=traced)
        if interface.opset != OPSET:
            from onnx.defs import onnx_opset_version

            newest = onnx_opset_version()
            if interface.opset > newest:
                raise InputError(
                    f"--opset {interface.opset}: the newest that this onnx knows is {newest}",
                    field="opset",
                    code="out-of-range",
                )

    def open(self, path: Path) -> OpenExport:
        """Open a file; which of the ONNX formats it is of, its metadata says. Raises InputError, FileFormatError."""
        return open_onnx(path)

    def open_comparable(self, path: Path, output: Output) -> OpenExport:
        """Open a file whose ranges were calibrated without these: noise is beyond what images need."""
        opened = self.open(path)
        if opened.precision != "int8":
            return opened
        from tleg.export.onnx.quantised import without_ranges

        return open_content(path, without_ranges(path))

    def check_file(self, path: Path) -> str | None:
        """Check the graph. Raises VerificationError."""
        check_graph(path)
        return "onnx.checker"

    def float16_runner(
        self, path: Path, watch: Watch, models: ModelSource | None, output: Output
    ) -> tuple[Runner, str] | None:
        """Return onnx.reference for what the graph writer wrote, and PyTorch for what PyTorch traced."""
        from tleg.export.onnx.float16 import can_run, load, onnx_runner
        from tleg.export.onnx.interface import without_interface

        content = without_interface(load(path))
        if can_run(content):
            return one_by_one(onnx_runner(content, watch), watch), "onnx"
        return super().float16_runner(path, watch, models, output)

    def metadata(self, source: Source, depth: Depth | None) -> dict[str, str]:
        """What a file says of itself."""
        return encode_metadata(metadata_of(source, self.format, depth, source.interface.opset))


class PlainBackend(OnnxBackend):
    """All weights of one model in the file."""

    def check_descendant(
        self, header: LearngeneHeader, depth: Depth | None, *, layout: Layout, num_classes: int, precision: Precision
    ) -> None:
        """Refuse a file of more bytes than ONNX allows. Raises ExportError."""
        assert depth is not None
        check_size(header.cost_at(depth).parameters * BYTES_OF[precision])

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write a file. Raises ExportError, OSError."""
        if source.precision not in QUANTISED:
            write_whole(path, source, depth, self.metadata(source, depth))
            return
        from tleg.export.onnx.quantised import PREPARED, quantise

        with TemporaryDirectory() as folder:
            whole = Path(folder) / "float32.onnx"
            # Ranges are of normalised images and of logits: what comes before and after is added to what was quantised.
            usual = replace(source.in_float32(), interface=Interface(opset=source.interface.opset))
            write_whole(whole, usual, depth, PREPARED)
            images = source.calibration if source.precision == "int8" else None
            quantise(whole, path, images, self.metadata(source, depth), _graph_interface(source))


class CompactBackend(OnnxBackend):
    """The terms in the file, and one depth."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write a file. Raises ExportError, OSError."""
        assert source.basis is not None
        assert depth is not None
        tensors, basis, metadata = _terms(source), source.basis, self.metadata(source, depth)
        if source.structure is None:
            from tleg.export.onnx.traced_compact import write_traced_compact

            assert source.architecture is not None, "what has terms is of a family"
            write_traced_compact(
                path,
                source.model(depth),
                source.architecture,
                basis,
                tensors,
                depth,
                precision=source.arithmetic,
                output=source.output,
                metadata=metadata,
                interface=_graph_interface(source),
            )
            return
        from tleg.export.onnx.compact import write_compact

        assert isinstance(depth, int), "a plain ViT has one stage"
        write_compact(path, source.structure, basis, tensors, depth, **_options(source, metadata))


class ElasticBackend(OnnxBackend):
    """The terms in the file, and the depth as an input."""

    def write(self, path: Path, source: Source, depth: Depth | None) -> None:
        """Write a file. Raises ExportError, OSError."""
        from tleg.export.onnx.elastic import write_elastic

        assert source.structure is not None
        assert source.basis is not None
        write_elastic(
            path,
            source.structure,
            source.basis,
            _terms(source),
            **_options(source, self.metadata(source, depth)),
        )


def write_whole(path: Path, source: Source, depth: Depth | None, metadata: Mapping[str, str]) -> None:
    """Write a file of all weights of one model, which are fractions. Raises ExportError, OSError."""
    if source.structure is None:
        from tleg.export.onnx.traced import write_torch

        write_torch(
            path,
            source.model(depth),
            source.input_size,
            source.output.names,
            metadata=metadata,
            interface=_graph_interface(source),
        )
        return
    from tleg.export.onnx.plain import write_layers, write_plain

    structure = source.structure
    options = _options(source, metadata)
    if source.basis is None:
        tensors, count = source.tensors(), source.lineage(depth).model.depth
        assert count is not None, "a plain ViT has a depth"
        write_layers(path, structure, tensors, count, **options)
    else:
        assert isinstance(depth, int), "a plain ViT has one stage"
        write_plain(path, structure, source.basis, source.tensors(), depth, **options)


def _terms(source: Source) -> Mapping[str, Tensor]:
    """A learngene's tensors as a file of terms holds them."""
    rounded = TERMS.get(source.precision)
    if rounded is None:
        return source.tensors()
    assert source.architecture is not None, "what has terms is of a family"
    return quantise_tensors(source.architecture, source.tensors(), rounded)


class _Options(TypedDict):
    layout: Layout
    precision: Arithmetic
    output: Output
    metadata: Mapping[str, str]
    interface: "GraphInterface | None"


def _options(source: Source, metadata: Mapping[str, str]) -> _Options:
    """What the graph writer's files have in common."""
    return {
        "layout": source.layout,
        "precision": source.arithmetic,
        "output": source.output,
        "metadata": metadata,
        "interface": _graph_interface(source),
    }


def _graph_interface(source: Source) -> "GraphInterface | None":
    from tleg.export.onnx.interface import GraphInterface

    return GraphInterface.of(source)
