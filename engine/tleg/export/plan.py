"""Planning a build: everything that can be refused is refused here, before anything is written. No torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tleg.errors import ArchitectureError, InputError, concerning
from tleg.export.backend import backend_of
from tleg.export.formats import (
    FORMATS,
    QUANTISED,
    TERMS,
    Format,
    Precision,
    TemperaturePlace,
    either,
    files_first,
    find_format,
)
from tleg.export.interface import Interface
from tleg.export.manifest import DescendantRecord, LearngeneRecord, manifest_path
from tleg.export.origin import hash_weights, learngene_of, read_training
from tleg.export.temperature import temperature_inside
from tleg.files import require_utf8
from tleg.learngene.architecture import Architecture, Layout
from tleg.learngene.container import LearngeneFile, read_file
from tleg.learngene.expansion import Head, choose_head
from tleg.learngene.families import family_of
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth, checked
from tleg.models.output import FIELD, Output, output_of
from tleg.models.timm_folder import TimmFolder, read_timm_folder
from tleg.references import find
from tleg.runs.run import name_of


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build.

    learngene    a path, or the name of a shipped one; or a folder that timm loads, whose weights are exported as they are,
                 with no depths, layout and num_classes but its own
    kinds        what to export: names of formats
    depths       of the descendants; may be empty when only formats are asked for that hold every depth
    output       the folder for the exports; made when it is missing
    layout       None is the auxiliary one
    num_classes  None keeps the head; another number than the learngene's gives a new head, and drops the class names
    image_size   height and width of the inputs; None is the learngene's, else its weights are resampled
    seed         of a new head's weights
    overwrite    replace existing exports
    verify       check every export before it is kept
    output_of    what the exports give; None is the logits of classes, and of a model without classes its pooled vector
    temperature  where a temperature that the model keeps goes: 'beside' it in the metadata, or 'inside': logits are divided
    interface    how the graphs of ONNX and OpenVINO are entered and left
    """

    learngene: str | Path
    kinds: tuple[str, ...]
    depths: tuple[Depth, ...] = ()
    output: Path = Path("exports")
    precision: Precision = "float32"
    layout: Layout | None = None
    num_classes: int | None = None
    image_size: tuple[int, int] | None = None
    seed: int = 0
    overwrite: bool = False
    verify: bool = True
    output_of: Output | None = None
    temperature: TemperaturePlace = "beside"
    interface: Interface = field(default_factory=Interface)

    def given_by(self, num_classes: int) -> Output:
        """What the exports of a model of so many classes give. Raises InputError for what it does not have."""
        return output_of(self.output_of, num_classes)


@dataclass(frozen=True, slots=True)
class PlannedExport:
    """One export to write: its format, its depth (None where it holds every depth, and from a folder), and where it goes."""

    format: Format
    depth: Depth | None
    target: Path

    @property
    def manifest(self) -> Path:
        """Where its manifest goes."""
        return manifest_path(self.target, self.format)


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """A checked request: what becomes of the learngene's head, and the exports in the order asked for.

    header  of the learngene, with inputs of the size asked for
    output  what the exports give
    """

    request: BuildRequest
    file: LearngeneFile
    header: LearngeneHeader
    head: Head
    output: Output
    exports: tuple[PlannedExport, ...]

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they are others than the learngene's."""
        return _other_size(self.request, self.file.header)

    @property
    def name(self) -> str:
        """What the learngene is called."""
        return name_of(self.file.path)

    @property
    def temperature(self) -> float | None:
        """What logits are divided by, where that is asked for. Raises InputError where there is no such temperature."""
        if self.request.temperature == "beside":
            return None
        return temperature_inside(
            self.header.learned if self.layout == "auxiliary" else {},
            [export.depth for export in self.exports],
            num_classes=self.head.num_classes,
            image_size=self.header.image_size,
            every_depth=any(export.format.every_depth for export in self.exports),
        )

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
            sha256=self.file.header.sha256,
            auxiliary_depth=self.header.auxiliary.depth,
            learned=self.header.learned,
        )

    def descendant_record(self, depth: Depth | None) -> DescendantRecord:
        """A descendant, as manifests name it."""
        profile = depth if isinstance(depth, tuple) else None
        return DescendantRecord(
            depth=depth[self.header.architecture.elastic] if isinstance(depth, tuple) else depth,
            profile=profile,
            layout=self.layout,
            dtype=self.request.precision,
            num_classes=self.head.num_classes,
            head=self.head.policy,
            head_seed=self.request.seed if self.head.policy == "new" else None,
            basis=self.header.basis,
            rule=self.header.basis.formula,
            image_size=self.image_size,
            output=None if self.output.of_classes else str(self.output),
            temperature=self.temperature,
        )


def plan_build(request: BuildRequest) -> BuildPlan:
    """Check a request for a learngene against its header and the output folder. Reads no tensor, writes nothing.

    torch is loaded where another size of images is asked for, whose costs are measured.

    Raises InputError (DepthError, ArchitectureError, FileFormatError) for what cannot be built, and ExportError for a file
    that its format cannot hold.
    """
    with concerning("depth"):
        depths = tuple(dict.fromkeys(checked(depth) for depth in request.depths))
    formats = chosen_formats(request)
    if not depths and not all(each.every_depth for each in formats):
        elastic = either(each.name for each in FORMATS.values() if each.every_depth)
        raise InputError(
            f"no depth was given: add --depth, such as --depth 8; only {elastic} holds every depth",
            field="depth",
            code="missing",
        )
    with concerning("learngene"):
        file = read_file(find(request.learngene, "learngene"))
    header, size = file.header, _other_size(request, file.header)
    with concerning("depth"):
        depths = tuple(dict.fromkeys(map(header.architecture.simplest, depths)))
    if size is not None:
        from tleg.models.image_size import resize_header

        header = resize_header(header, size)
    family_of(header.architecture).check_layout(header.architecture, request.layout or "auxiliary")
    known = header.architecture.num_classes
    output = _asked_of_learngene(request, header.architecture)
    for each in formats:
        each.check_source("learngene", request.precision, file.path)
        each.check_output(output)
    plan = BuildPlan(
        request,
        file,
        header,
        choose_head(known, request.num_classes) if output.of_classes else Head(0, "none"),
        output,
        tuple(
            _planned(request, name_of(file.path), each, depth, size) for each in formats for depth in each.depths_of(depths)
        ),
    )
    _check_temperature(request, plan.exports, output)
    _ = plan.temperature
    _check_interface(request, formats)
    for export in plan.exports:
        _check_export(plan, export)
    check_targets(request, plan.exports)
    return plan


def chosen_formats(request: BuildRequest) -> tuple[Format, ...]:
    """What to export, each format once. Raises InputError when that is nothing, or there is no format of a name."""
    if not request.kinds:
        raise InputError(f"nothing to export: choose --export {either(FORMATS)}", field="export", code="missing")
    return tuple(dict.fromkeys(map(find_format, request.kinds)))


def check_targets(request: BuildRequest, exports: Iterable[PlannedExport]) -> None:
    """Refuse an output folder, or a target in it, that cannot be written or must not be replaced. Raises InputError."""
    require_utf8(request.output, "ONNX")
    _check_output(request.output)
    for export in exports:
        _check_target(export, overwrite=request.overwrite)


def _asked_of_learngene(request: BuildRequest, architecture: Architecture) -> Output:
    """What the exports of a learngene give. Raises InputError for what its descendants do not have."""
    if request.num_classes:
        output = request.given_by(request.num_classes)
        if not output.of_classes:
            raise InputError(
                f"--num-classes makes a head, and --output-of {output} exports none: leave one of them out",
                field=("num-classes", FIELD),
                code="conflict",
            )
        return output
    return request.given_by(architecture.num_classes)


def _other_size(request: BuildRequest, header: LearngeneHeader) -> tuple[int, int] | None:
    return None if request.image_size == header.image_size else request.image_size


def _planned(
    request: BuildRequest, stem: str, entry: Format, depth: Depth | None, image_size: tuple[int, int] | None = None
) -> PlannedExport:
    # What is not the default is part of the name, so that variants lie side by side.
    stem = f"{stem}-calibrated" if request.temperature == "inside" else stem
    name = entry.file_name(stem, depth, request.precision, request.layout, image_size, request.output_of, request.interface)
    return PlannedExport(entry, depth, request.output / name)


def _check_interface(request: BuildRequest, formats: Iterable[Format]) -> None:
    """Refuse an interface that makes no sense, or that what another tool quantises does not have. Raises InputError."""
    request.interface.check()
    other = next((entry for entry in formats if entry.quantiser), None)
    if other is not None and request.precision in QUANTISED and not request.interface.is_usual:
        raise InputError(
            f"--export {other.name} --dtype {request.precision} makes files that are entered and left as usual: leave "
            "--batch, --opset, --input, --softmax, --top and names out, or take --export onnx",
            field=("dtype", "batch", "opset", "input", "softmax", "top"),
            code="unsupported",
        )


def _check_temperature(request: BuildRequest, exports: Iterable[PlannedExport], output: Output) -> None:
    """Refuse a temperature inside what has no graph or no logits. Raises InputError."""
    if request.temperature == "beside":
        return
    folder = next((export.format.name for export in exports if export.format.is_timm_folder), None)
    if folder is not None:
        raise InputError(
            f"--temperature inside is for graphs; --export {folder} keeps the weights of the model",
            field=("temperature", "export"),
            code="conflict",
        )
    if not output.of_classes:
        raise InputError(
            f"--temperature inside divides logits, and these exports give {output} features",
            field=("temperature", FIELD),
            code="conflict",
        )


def _check_export(plan: BuildPlan, export: PlannedExport) -> None:
    if plan.request.precision in TERMS:
        _check_terms(plan)
    if export.format.plain and plan.architecture.structure is None:
        others = either((each.name for each in files_first() if not each.plain), "and")
        raise ArchitectureError(
            f"'{plan.architecture.name}' is not a plain ViT, and --export {export.format.name} takes no other: "
            f"{export.format.plain}; --export {others} can write it",
            field="export",
        )
    backend_of(export.format).check_descendant(
        plan.header,
        export.depth,
        layout=plan.layout,
        num_classes=plan.head.num_classes,
        precision=plan.request.precision,
    )
    backend_of(export.format).check_interface(
        plan.request.interface,
        plan.output,
        plan.head.num_classes,
        traced=plan.architecture.structure is None,
    )
    plan.request.interface.check_preprocessing(plan.header.preprocessing, plan.header.architecture.input_size)


def _check_terms(plan: BuildPlan) -> None:
    """Refuse to round what was not trained. Raises InputError."""
    if plan.head.policy == "new":
        raise InputError(
            f"--num-classes makes an untrained head, and --dtype {plan.request.precision} rounds what is trained: fine-tune "
            "first",
            field=("num-classes", "dtype"),
            code="conflict",
        )


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
    if export.format.is_folder and not target.is_dir():
        raise InputError(
            f"{target} is a file; move it away first, or choose another --output", field="output", code="wrong-kind"
        )
    if not export.format.is_folder and target.is_dir():
        raise InputError(
            f"{target} is a folder; move it away first, or choose another --output", field="output", code="wrong-kind"
        )


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
    formats = chosen_formats(request)
    for each in formats:
        if "folder" not in each.dtypes:
            each.check_source("folder", request.precision, path)
    _refuse(request.depths, "--depth", path, "a depth")
    _refuse(request.layout, "--layout", path, "a layout")
    _refuse(request.num_classes, "--num-classes", path, "a head")
    # Without a number in its config.json it is timm's usual one; what was loaded decides.
    known = folder.config.get("num_classes", folder.pretrained.get("num_classes"))
    output = request.given_by(known if type(known) is int else 1)
    _check_interface(request, formats)
    for each in formats:
        each.check_source("folder", request.precision, path, changed=known != 0 and not output.of_classes)
        each.check_output(output)
        backend_of(each).check_interface(request.interface, output, known if type(known) is int else None)
    sha256 = hash_weights(folder.weights)
    training = read_training(path)
    exports = tuple(_planned(request, name_of(path), each, None, request.image_size) for each in formats)
    _check_temperature(request, exports, output)
    check_targets(request, exports)
    return FolderPlan(request, path, folder, sha256, training, learngene_of(folder, sha256, training), exports)


def _refuse(value: object, option: str, path: Path, what: str) -> None:
    if value is not None and value != ():
        raise InputError(
            f"{option} is for learngenes: the model in the folder {path} has {what} of its own; leave it out",
            field=option.removeprefix("--"),
            code="conflict",
        )
