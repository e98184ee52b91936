"""Planning a build from a learngene: everything that can be refused is refused here, before anything is written."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tleg.basis import check_depth
from tleg.container import LearngeneFile, read_file
from tleg.errors import ArchitectureError, InputError
from tleg.export.formats import BYTES_OF, ExportKind, Precision, export_name
from tleg.export.manifest import DescendantRecord, LearngeneRecord, manifest_path
from tleg.export.onnx_file import check_size
from tleg.file_names import require_utf8
from tleg.head import Head, choose_head
from tleg.header import Architecture, Layout, LearngeneHeader
from tleg.models.timm_folder import timm_config
from tleg.references import find
from tleg.runs.results import name_of


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    learngene    a path, or the name of a shipped one; or a folder that timm loads, whose weights are exported as they are,
                 with no depths, layout and num_classes but its own
    kinds        what to export
    depths       of the descendants; may be empty when only elastic files are asked for, which hold every depth
    output       the folder for the exports; made when it is missing
    layout       None is the auxiliary one
    num_classes  None keeps the head; another number than the learngene's gives a new head, and drops the class names
    seed         of a new head's weights
    overwrite    replace existing exports
    verify       check every export before it is kept
    """

    learngene: str | Path
    kinds: tuple[ExportKind, ...]
    depths: tuple[int, ...] = ()
    output: Path = Path("exports")
    precision: Precision = "float32"
    layout: Layout | None = None
    num_classes: int | None = None
    seed: int = 0
    overwrite: bool = False
    verify: bool = True


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """One export to write: its kind, its depth (None for elastic, and from a folder), and where it goes."""

    kind: ExportKind
    depth: int | None
    target: Path

    @property
    def manifest(self) -> Path:
        """Where its manifest goes."""
        return manifest_path(self.target, self.kind)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A checked request: the learngene's header, what becomes of the head, and the exports in the order asked for."""

    request: BuildRequest
    file: LearngeneFile
    head: Head
    exports: tuple[PlannedExport, ...]

    @property
    def header(self) -> LearngeneHeader:
        """The learngene's header."""
        return self.file.header

    @property
    def name(self) -> str:
        """What the learngene is called."""
        return name_of(self.file.path)

    @property
    def layout(self) -> Layout:
        """The descendants' layout."""
        return self.request.layout or "auxiliary"

    @property
    def architecture(self) -> Architecture:
        """The descendants' architecture, in their layout."""
        return self.header.architecture.in_layout(self.layout)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of the descendants: the learngene's, but none for a new head."""
        return self.header.classes if self.head.policy == "kept" else ()

    def learngene_record(self) -> LearngeneRecord:
        """The learngene, as manifests name it."""
        return LearngeneRecord(
            name=self.name,
            file=self.file.path.name,
            sha256=self.header.sha256,
            auxiliary_depth=self.header.auxiliary.depth,
            learned=self.header.learned,
        )

    def descendant_record(self, depth: int | None) -> DescendantRecord:
        """A descendant, as manifests name it."""
        return DescendantRecord(
            depth=depth,
            layout=self.layout,
            dtype=self.request.precision,
            num_classes=self.head.num_classes,
            head=self.head.policy,
            head_seed=self.request.seed if self.head.policy == "new" else None,
            basis=self.header.basis,
            rule=self.header.basis.formula,
        )


def plan_build(request: BuildRequest) -> BuildPlan:
    """Check a request for a learngene against its header and the output folder. Reads no tensor, writes nothing.

    Raises InputError (DepthError, ArchitectureError, FileFormatError) for what cannot be built, and ExportError for a file
    that its format cannot hold.
    """
    depths = tuple(dict.fromkeys(check_depth(depth) for depth in request.depths))
    kinds = chosen_kinds(request)
    if not depths and set(kinds) != {"onnx-elastic"}:
        raise InputError("no depth was given: add --depth, such as --depth 8; only onnx-elastic holds every depth")
    file = read_file(find(request.learngene, "learngene"))
    header = file.header
    check_layout(header, request.layout or "auxiliary")
    plan = BuildPlan(
        request,
        file,
        choose_head(header.architecture.num_classes, request.num_classes),
        tuple(_planned(request, name_of(file.path), kind, depth) for kind in kinds for depth in _depths_of(kind, depths)),
    )
    for export in plan.exports:
        _check_export(plan, export)
    check_targets(request, plan.exports)
    return plan


def chosen_kinds(request: BuildRequest) -> tuple[ExportKind, ...]:
    """What to export, each kind once. Raises InputError when that is nothing."""
    if not request.kinds:
        raise InputError("nothing to export: choose --export pytorch, onnx, onnx-compact or onnx-elastic")
    return tuple(dict.fromkeys(request.kinds))


def check_targets(request: BuildRequest, exports: Iterable[PlannedExport]) -> None:
    """Refuse an output folder, or a target in it, that cannot be written or must not be replaced. Raises InputError."""
    require_utf8(request.output, "ONNX")
    _check_output(request.output)
    for export in exports:
        _check_target(export, overwrite=request.overwrite)


def _depths_of(kind: ExportKind, depths: tuple[int, ...]) -> tuple[int | None, ...]:
    return (None,) if kind == "onnx-elastic" else depths


def _planned(request: BuildRequest, stem: str, kind: ExportKind, depth: int | None) -> PlannedExport:
    name = export_name(stem, kind, depth, request.precision, request.layout or "auxiliary")
    return PlannedExport(kind, depth, request.output / name)


def check_layout(header: LearngeneHeader, layout: Layout) -> None:
    """Refuse the official layout where it means nothing. Raises ArchitectureError."""
    if layout == "official" and header.architecture.arguments.get("global_pool") != "avg":
        raise ArchitectureError("the official layout normalises after average pooling; this architecture does not pool so")


def _check_export(plan: BuildPlan, export: PlannedExport) -> None:
    header, request = plan.header, plan.request
    if export.kind in ("onnx-compact", "onnx-elastic") and plan.architecture.structure is None:
        raise ArchitectureError(
            f"'{plan.architecture.name}' is not a plain ViT, so --export {export.kind} cannot write it; "
            "--export onnx and pytorch can"
        )
    if export.kind == "pytorch":
        timm_config(
            header.architecture,
            export.depth,
            preprocessing=header.preprocessing,
            layout=plan.layout,
            num_classes=plan.head.num_classes,
        )
    if export.kind == "onnx" and export.depth is not None:
        check_size(header.cost.at(export.depth).parameters * BYTES_OF[request.precision])


def _check_output(output: Path) -> None:
    for folder in (output, *output.parents):
        if folder.exists():
            if not folder.is_dir():
                raise InputError(f"{folder} is a file; --output names a folder")
            return


def _check_target(export: PlannedExport, *, overwrite: bool) -> None:
    target = export.target
    if not target.exists():
        return
    if not overwrite:
        raise InputError(f"{target} exists already; --force replaces it")
    if export.kind == "pytorch" and not target.is_dir():
        raise InputError(f"{target} is a file; move it away first, or choose another --output")
    if export.kind != "pytorch" and target.is_dir():
        raise InputError(f"{target} is a folder; move it away first, or choose another --output")
