"""Planning a build: everything that can be refused is refused here, before anything is written. No torch."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from tleg.errors import ArchitectureError, FileFormatError, InputError, concerning, describe_os_error
from tleg.export.formats import BYTES_OF, ExportKind, Precision, export_name
from tleg.export.manifest import (
    FOLDER_MANIFEST,
    MAX_BYTES,
    DescendantRecord,
    FolderRecord,
    LearngeneRecord,
    manifest_path,
    read_manifest,
)
from tleg.export.onnx.file import check_size
from tleg.files import hash_file, require_utf8
from tleg.learngene.basis import check_depth
from tleg.learngene.container import LearngeneFile, read_file
from tleg.learngene.expansion import Head, choose_head
from tleg.learngene.header import Architecture, Layout, LearngeneHeader, Preprocessing
from tleg.models.timm_folder import TimmFolder, read_timm_folder, timm_config
from tleg.references import find
from tleg.runs.run import name_of

if TYPE_CHECKING:
    from tleg.export.comparison import Reference


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
    with concerning("depth"):
        depths = tuple(dict.fromkeys(check_depth(depth) for depth in request.depths))
    kinds = chosen_kinds(request)
    if not depths and set(kinds) != {"onnx-elastic"}:
        raise InputError(
            "no depth was given: add --depth, such as --depth 8; only onnx-elastic holds every depth",
            field="depth",
            code="missing",
        )
    with concerning("learngene"):
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
        raise InputError(
            "nothing to export: choose --export pytorch, onnx, onnx-compact or onnx-elastic", field="export", code="missing"
        )
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
        raise ArchitectureError(
            "the official layout normalises after average pooling; this architecture does not pool so", field="layout"
        )


def _check_export(plan: BuildPlan, export: PlannedExport) -> None:
    header, request = plan.header, plan.request
    if export.kind in ("onnx-compact", "onnx-elastic") and plan.architecture.structure is None:
        raise ArchitectureError(
            f"'{plan.architecture.name}' is not a plain ViT, so --export {export.kind} cannot write it; "
            "--export onnx and pytorch can",
            field="export",
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
                raise InputError(f"{folder} is a file; --output names a folder", field="output", code="wrong-kind")
            return


def _check_target(export: PlannedExport, *, overwrite: bool) -> None:
    target = export.target
    if not target.exists():
        return
    if not overwrite:
        raise InputError(f"{target} exists already", field="output", code="exists", advice="--force replaces it")
    if export.kind == "pytorch" and not target.is_dir():
        raise InputError(
            f"{target} is a file; move it away first, or choose another --output", field="output", code="wrong-kind"
        )
    if export.kind != "pytorch" and target.is_dir():
        raise InputError(
            f"{target} is a folder; move it away first, or choose another --output", field="output", code="wrong-kind"
        )


TRAINING_RECORD: Final = "training.json"
_MAX_GENERATIONS: Final = 100  # Folders trained from folders.


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """A checked request for a folder's model.

    training   the contents of its training.json; None when it holds none
    learngene  what the folder knows of the learngene that it descends from
    """

    request: BuildRequest
    path: Path
    folder: TimmFolder
    sha256: str
    training: Mapping[str, Any] | None
    learngene: LearngeneRecord | None
    exports: tuple[PlannedExport, ...]

    @property
    def name(self) -> str:
        """The folder's name, also when it was given as '.'."""
        return self.path.resolve().name


def plan_folder(request: BuildRequest, path: Path) -> FolderPlan:
    """Check a request for a folder against what the folder holds and the output. Loads no weights, writes nothing.

    Raises InputError (FileFormatError) for what cannot be built.
    """
    folder = read_timm_folder(path)
    kinds = chosen_kinds(request)
    for kind in kinds:
        if kind in ("onnx-compact", "onnx-elastic"):
            raise InputError(
                f"--export {kind} needs a learngene: it holds terms, and the layers in the folder {path} have weights of "
                "their own, which training takes off any rule; use --export onnx",
                field="export",
                code="unsupported",
            )
    _refuse(request.depths, "--depth", path, "a depth")
    _refuse(request.layout, "--layout", path, "a layout")
    _refuse(request.num_classes, "--num-classes", path, "a head")
    if "pytorch" in kinds and request.precision != "float16":
        raise InputError(
            f"{path} is a folder that timm loads already; use --export onnx, or --dtype float16 to get one of half the size",
            field=("export", "dtype"),
            code="unsupported",
        )
    sha256 = _hash_weights(folder.weights)
    training = _read_training(path)
    exports = tuple(
        PlannedExport(kind, None, request.output / export_name(name_of(path), kind, None, request.precision))
        for kind in kinds
    )
    check_targets(request, exports)
    return FolderPlan(request, path, folder, sha256, training, _learngene_of(folder, sha256, training), exports)


def _refuse(value: object, option: str, path: Path, what: str) -> None:
    if value is not None and value != ():
        raise InputError(
            f"{option} is for learngenes: the model in the folder {path} has {what} of its own; leave it out",
            field=option.removeprefix("--"),
            code="conflict",
        )


def _hash_weights(file: Path) -> str:
    try:
        return hash_file(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {describe_os_error(error)}", code="system") from error


def _read_training(path: Path) -> Mapping[str, Any] | None:
    place = path / TRAINING_RECORD
    if not place.exists():
        return None
    try:
        if place.stat().st_size > MAX_BYTES:
            raise FileFormatError(f"{place} is too large for the record of a training")
        record = json.loads(place.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise FileFormatError(f"cannot read {place}: {reason}; it says where the model comes from") from error
    if not isinstance(record, dict):
        raise FileFormatError(f"{place} is no record of a training; it says where the model comes from")
    return record


def training_record(path: Path) -> Mapping[str, Any]:
    """Return how the weights of a folder were trained, by its training.json or its manifest; {} when neither says so."""
    try:
        record = _read_training(path)
        if record is None and (path / FOLDER_MANIFEST).is_file():
            learngene = read_manifest(path / FOLDER_MANIFEST).learngene
            record = None if learngene is None else learngene.learned
    except FileFormatError:
        return {}
    return record or {}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _learngene_of(folder: TimmFolder, sha256: str, training: Mapping[str, Any] | None) -> LearngeneRecord | None:
    """The learngene that the folder's training record names, or else its manifest when that is about these weights."""
    if training is not None:
        return _trained_from(training.get("lineage"))
    place = folder.path / FOLDER_MANIFEST
    if not place.is_file():
        return None
    manifest = read_manifest(place)
    return manifest.learngene if manifest.file.files.get(folder.weights.name) == sha256 else None


def _trained_from(lineage: object) -> LearngeneRecord | None:
    """Follow a lineage, from folder to folder, to the learngene at its beginning."""
    for _ in range(_MAX_GENERATIONS):
        if not isinstance(lineage, dict):
            return None
        name, sha256 = lineage.get("learngene"), lineage.get("sha256")
        if isinstance(name, str) and isinstance(sha256, str):
            learned = {"ancestry": lineage["ancestry"]} if "ancestry" in lineage else {}
            return LearngeneRecord(name, None, sha256, None, learned)
        lineage = lineage.get("from")
    return None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where an export's weights come from: a descendant of a learngene, or a folder, whose learngene may be unknown."""

    learngene: LearngeneRecord | None
    descendant: DescendantRecord | None = None
    folder: FolderRecord | None = None

    @property
    def ancestry(self) -> Any:
        """What the learngene says of its ancestry model; None when nothing is known."""
        return None if self.learngene is None else self.learngene.ancestry


class Source(Protocol):
    """Where exports come from, loaded and ready to be written."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes an input of every export."""

    def lineage(self, export: PlannedExport) -> Lineage:
        """Where an export's weights come from."""

    def libraries(self, kind: ExportKind, *, verified: bool) -> tuple[str, ...]:
        """The libraries that had a part in an export."""

    def reference(self, export: PlannedExport) -> "Reference":
        """What an export must compute."""

    def write(self, path: Path, export: PlannedExport) -> None:
        """Write an export's file, or into its folder. Raises ExportError, OSError."""
