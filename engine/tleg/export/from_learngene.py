"""Writing a learngene's descendants: expanded into a timm folder or plain ONNX, as terms into compact or elastic ONNX."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tleg.export.formats import ExportKind
from tleg.export.plan import BuildPlan, Lineage, PlannedExport
from tleg.learngene.expansion import Array, expand_tensors, new_head
from tleg.learngene.header import Preprocessing, Structure
from tleg.learngene.structure import official_layout_name
from tleg.models.float16 import to_float16
from tleg.models.learngene import Learngene, read_tensors

if TYPE_CHECKING:
    from tleg.export.comparison import Reference


@dataclass(frozen=True, slots=True, eq=False)
class LearngeneSource:
    """A learngene whose descendants are exported as a plan says."""

    plan: BuildPlan
    learngene: Learngene

    @classmethod
    def load(cls, plan: BuildPlan) -> "LearngeneSource":
        """Read and check the learngene's tensors. Raises FileFormatError or VerificationError."""
        return cls(plan, read_tensors(plan.file))

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input of every export."""
        return self.plan.header.preprocessing

    def lineage(self, export: PlannedExport) -> Lineage:
        """Where an export's weights come from."""
        return Lineage(self.plan.learngene_record(), descendant=self.plan.descendant_record(export.depth))

    def libraries(self, kind: ExportKind, *, verified: bool) -> tuple[str, ...]:
        """The libraries that had a part in an export."""
        names = ["tleg", "numpy", "safetensors"]
        names += ["onnx"] if kind != "pytorch" else []
        names += ["onnxruntime"] if kind != "pytorch" and verified else []
        traced = kind == "onnx" and self.plan.architecture.structure is None
        names += ["torch", "timm"] if verified or traced else []
        return tuple(names)

    def reference(self, export: PlannedExport) -> "Reference":
        """What an export must compute."""
        from tleg.export.comparison import learngene_reference

        depths = _depths_to_verify(self.plan, export)
        return learngene_reference(self.learngene, self.plan.descendant_record(export.depth), depths)

    def write(self, path: Path, export: PlannedExport) -> None:
        """Write an export's file, or into its folder. Raises ExportError, OSError."""
        _write(path, self.plan, self.learngene, export)


def _depths_to_verify(plan: BuildPlan, export: PlannedExport) -> tuple[int, ...]:
    """A fixed export's own depth; for an elastic one those asked for, the auxiliary model's, and the shallowest."""
    if export.depth is not None:
        return (export.depth,)
    return tuple(sorted({1, plan.header.auxiliary.depth, *plan.request.depths}))


def _write(path: Path, plan: BuildPlan, learngene: Learngene, export: PlannedExport) -> None:
    tensors = dict(learngene.tensors)
    if plan.head.policy == "new":
        tensors |= new_head(tensors["head.weight"].shape[1], plan.head.num_classes, plan.request.seed)
    structure = plan.architecture.structure
    if export.kind == "pytorch":
        assert export.depth is not None
        _write_folder(path, plan, tensors, export.depth)
    elif structure is None:
        _write_traced(path, plan, learngene, export)
    else:
        _write_graph(path, plan, structure, tensors, export)


def _write_folder(path: Path, plan: BuildPlan, tensors: Mapping[str, Array], depth: int) -> None:
    from tleg.models.timm_folder import save_timm_folder

    state: dict[str, Any] = expand_tensors(tensors, plan.header, depth)
    if plan.layout == "official":
        state = {official_layout_name(name): values for name, values in state.items()}
    if plan.request.precision == "float16":
        state = {name: to_float16(name, values) for name, values in state.items()}
    save_timm_folder(
        path,
        state,
        plan.header.architecture,
        depth,
        preprocessing=plan.header.preprocessing,
        layout=plan.layout,
        num_classes=plan.head.num_classes,
        classes=plan.classes,
    )


def _write_graph(
    path: Path, plan: BuildPlan, structure: Structure, tensors: Mapping[str, Array], export: PlannedExport
) -> None:
    from tleg.export.onnx.compact import write_compact
    from tleg.export.onnx.elastic import write_elastic
    from tleg.export.onnx.plain import write_plain

    request, basis, metadata = plan.request, plan.header.basis, _metadata(plan, export)
    if export.depth is None:
        write_elastic(path, structure, basis, tensors, layout=plan.layout, precision=request.precision, metadata=metadata)
        return
    write = write_plain if export.kind == "onnx" else write_compact
    write(path, structure, basis, tensors, export.depth, layout=plan.layout, precision=request.precision, metadata=metadata)


def _write_traced(path: Path, plan: BuildPlan, learngene: Learngene, export: PlannedExport) -> None:
    from tleg.export.onnx.traced import write_torch
    from tleg.models.descendant import expand

    request = plan.request
    assert export.depth is not None
    model = expand(
        learngene,
        export.depth,
        layout=plan.layout,
        num_classes=plan.head.num_classes,
        dtype=request.precision,
        seed=request.seed,
    )
    write_torch(path, model, plan.header.architecture.input_size, metadata=_metadata(plan, export))


def _metadata(plan: BuildPlan, export: PlannedExport) -> dict[str, str]:
    from tleg.export.onnx.file import OPSET
    from tleg.export.onnx.metadata import Input, OnnxMetadata, encode_metadata

    header = plan.header
    return encode_metadata(
        OnnxMetadata(
            kind=export.kind,
            opset=OPSET,
            input=Input(header.architecture.input_size, header.preprocessing),
            classes=plan.classes,
            learngene=plan.learngene_record(),
            descendant=plan.descendant_record(export.depth),
        )
    )
