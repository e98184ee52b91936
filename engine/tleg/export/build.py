"""Building exports: from a learngene, or a folder that timm loads, to verified files, each with its manifest."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from tleg.errors import FileFormatError, TlegError, VerificationError
from tleg.export.backend import Backend, Source, backend_of
from tleg.export.comparison import verify_export
from tleg.export.exporting import quietly
from tleg.export.manifest import FOLDER_MANIFEST, Manifest, describe_file, write_manifest, written_files
from tleg.export.plan import BuildRequest, PlannedExport, plan_build, plan_folder
from tleg.export.precision_cost import Calibration, Judge, PrecisionCost
from tleg.export.sources import FolderSource, LearngeneSource
from tleg.files import FOLDER_FILES, new_file, new_folder
from tleg.learngene.profile import Depth
from tleg.recipes.precision import require_calibration
from tleg.references import find
from tleg.versions import versions

Stage = Literal["loading", "writing", "calibrating", "verifying", "measuring", "done"]


@dataclass(frozen=True, slots=True)
class BuiltExport:
    """An export that was written: where it is, its manifest, and the seconds that writing and verifying took."""

    path: Path
    manifest_path: Path
    manifest: Manifest
    writing_seconds: float
    verifying_seconds: float


@dataclass(frozen=True, slots=True)
class BuildStep:
    """What a build is doing: its stage, the export it is about (None while loading), its place among `count` exports.

    built   what came of the export, once its stage is 'done'
    images  of calibrating and measuring: those that were looked at, and all
    """

    stage: Stage
    export: PlannedExport | None
    index: int
    count: int
    built: BuiltExport | None = None
    images: tuple[int, int] | None = None


Progress = Callable[[BuildStep], None]


class _Report(Protocol):
    """Tells of a stage of one export, and of the images that were looked at and all."""

    def __call__(self, stage: Stage, images: tuple[int, int] | None = None) -> None: ...


# The exports to write, and what loads their source; refusals come before.
AnySource = LearngeneSource | FolderSource
Planned = tuple[tuple[PlannedExport, ...], Callable[[], AnySource]]


def build_exports(
    request: BuildRequest,
    progress: Progress | None = None,
    judge: Judge | None = None,
    calibrate: Callable[[Source], Calibration | None] | None = None,
) -> tuple[BuiltExport, ...]:
    """Build what is asked for and return the exports in order.

    Everything is checked before the first byte is written. Each export appears whole, verified and with its manifest, or not
    at all; when one fails, those before it stay. `progress` is called at every stage. `judge` has the images that calibrate
    exports and measures them beside float32; without one, `calibrate` gives the images.

    Raises InputError for a request that cannot be built, VerificationError when an export does not compute what it should
    or loses too much accuracy, ExportError when it cannot be written.
    """
    tell = progress or (lambda step: None)
    path = find(request.learngene, "learngene", "folder")
    exports, load = _plan_from_folder(request, path) if path.is_dir() else _plan_from_learngene(request)
    count = len(exports)
    tell(BuildStep("loading", None, 0, count))
    _import_libraries(request, exports)
    source = load()
    prepare = calibrate if judge is None else judge.prepare
    calibration = None if prepare is None else prepare(source)
    require_calibration(calibration, request.precision)
    results = []
    for index, export in enumerate(exports):

        def report(
            stage: Stage, images: tuple[int, int] | None = None, export: PlannedExport = export, index: int = index
        ) -> None:
            tell(BuildStep(stage, export, index, count, images=images))

        built = _build(request, _calibrated(source, calibration, report), export, report, judge)
        tell(BuildStep("done", export, index, count, built))
        results.append(built)
    return tuple(results)


def _import_libraries(request: BuildRequest, exports: tuple[PlannedExport, ...]) -> None:
    """Import what writes and checks the exports now: a library that does not load is no reason to begin a file."""
    for entry in dict.fromkeys(export.format for export in exports):
        for name in (*entry.libraries, *(entry.runtime if request.verify else ())):
            with quietly():
                import_module(name)


def _plan_from_learngene(request: BuildRequest) -> Planned:
    plan = plan_build(request)
    return plan.exports, lambda: LearngeneSource.load(plan)


def _plan_from_folder(request: BuildRequest, path: Path) -> Planned:
    plan = plan_folder(request, path)
    return plan.exports, lambda: FolderSource.load(plan)


def _calibrated(source: AnySource, calibration: Calibration | None, report: "_Report") -> AnySource:
    """A source with images for calibration, which tells of each batch."""
    if calibration is None:
        return source

    def batches() -> Iterator[NDArray[Any]]:
        done = 0
        report("calibrating", (0, calibration.images))
        for batch in calibration.batches():
            yield batch
            done += len(batch)
            report("calibrating", (done, calibration.images))

    return replace(source, calibration=replace(calibration, batches=batches))


def _build(
    request: BuildRequest, source: AnySource, export: PlannedExport, report: "_Report", judge: Judge | None
) -> BuiltExport:
    backend = backend_of(export.format)
    with ExitStack() as stack:
        if export.format.is_folder:
            own = FOLDER_FILES | written_files(export.manifest)
            if export.format.is_package:
                manifest_file = stack.enter_context(new_file(export.manifest, overwrite=True))
            temporary = stack.enter_context(new_folder(export.target, overwrite=request.overwrite, own=own))
            if not export.format.is_package:
                manifest_file = temporary / FOLDER_MANIFEST
        else:
            # Renamed in reverse: the file first and its manifest at once after it. A kill between the two leaves a manifest
            # whose hash is not the file's, which `tleg verify` reports.
            manifest_file = stack.enter_context(new_file(export.manifest, overwrite=True))
            temporary = stack.enter_context(new_file(export.target, overwrite=request.overwrite))
        begin = time.perf_counter()
        with _final_name(temporary, export.target):
            report("writing")
            backend.write(temporary, source, export.depth)
            written = time.perf_counter()
            verification = None
            if request.verify:
                report("verifying")
                verification = verify_export(temporary, export.format, source.reference(export))
            beside_float32 = None
            if judge is not None and source.precision != "float32":
                report("measuring")
                beside_float32 = _measure(backend, source, export, temporary, request, report, judge)
        lineage, described = source.lineage(export.depth), source.described.get(export.depth)
        manifest = Manifest(
            ancestry=lineage.ancestry,
            learngene=lineage.learngene,
            descendant=lineage.descendant,
            folder=lineage.folder,
            file=describe_file(temporary, export.target.name, export.format.name),
            versions=versions(*_libraries(backend, source, verified=request.verify)),
            verification=verification,
            preprocessing=source.preprocessing,
            note="; ".join(filter(None, (source.doubt(export.depth), backend.note(temporary)))) or None,
            outputs=None if described is None else described.outputs,
            cost=None if described is None else described.cost,
            usage=backend.usage(export.target, source.output),
            example=backend.example(export.target, source),
            interface=None if source.interface.is_usual else source.interface,
            beside_float32=beside_float32,
        )
        write_manifest(manifest_file, manifest)
        verified = time.perf_counter()
    return BuiltExport(export.target, export.manifest, manifest, written - begin, verified - written)


def _measure(
    backend: Backend,
    source: AnySource,
    export: PlannedExport,
    written: Path,
    request: BuildRequest,
    report: "_Report",
    judge: Judge,
) -> PrecisionCost:
    """Measure an export beside the same in float32. Raises VerificationError when it loses too much accuracy."""
    depths: tuple[Depth | None, ...] = (export.depth,)
    if export.format.every_depth:
        known = source.lineage(None).learngene
        depths = request.depths or (1 if known is None or known.auxiliary_depth is None else known.auxiliary_depth,)
    with TemporaryDirectory() as folder:
        before = Path(folder) / written.name
        if export.format.is_folder:
            before.mkdir()
        backend.write(before, source.in_float32(), export.depth)
        return judge.measure(export.format, before, written, depths, lambda done, whole: report("measuring", (done, whole)))


def _libraries(backend: Backend, source: AnySource, *, verified: bool) -> tuple[str, ...]:
    """The packages that had a part in an export, PyTorch's last: a check compares with what PyTorch computes."""
    names = [*backend.libraries(source), *((*backend.format.runtime, "torch", "timm") if verified else ())]
    last = [name for name in ("torch", "timm") if name in names]
    return tuple(dict.fromkeys([*(name for name in names if name not in last), *last]))


@contextmanager
def _final_name(temporary: Path, target: Path) -> Iterator[None]:
    """Name the target, not the temporary file, in errors; and a file that cannot be read back has failed verification."""
    try:
        yield
    except TlegError as error:
        kind = VerificationError if isinstance(error, FileFormatError) else type(error)
        text = str(error).replace(str(temporary), str(target)).replace(temporary.name, target.name)
        raise kind(text, **error.about) from error
