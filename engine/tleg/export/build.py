"""Building exports: from a learngene to verified files, each with its manifest."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tleg.atomic import new_file, new_folder
from tleg.errors import FileFormatError, TlegError, VerificationError
from tleg.expansion import Array, expand_tensors
from tleg.export.formats import ExportKind
from tleg.export.manifest import FOLDER_MANIFEST, Manifest, describe_file, write_manifest
from tleg.export.plan import BuildPlan, BuildRequest, PlannedExport, plan_build
from tleg.head import new_head
from tleg.header import Structure
from tleg.learngene import Learngene, read_tensors
from tleg.names import official_layout_name
from tleg.versions import versions

Stage = Literal["loading", "writing", "verifying", "done"]


@dataclass(frozen=True, slots=True)
class BuildStep:
    """What a build is doing: its stage, the export it is about (None while loading), its place among `count` exports."""

    stage: Stage
    export: PlannedExport | None
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class BuiltExport:
    """An export that was written: where it is, its manifest, and the seconds that writing and verifying took."""

    path: Path
    manifest_path: Path
    manifest: Manifest
    writing_seconds: float
    verifying_seconds: float


Progress = Callable[[BuildStep], None]


def build_exports(request: BuildRequest, progress: Progress | None = None) -> tuple[BuiltExport, ...]:
    """Build what is asked for and return the exports in order.

    Everything is checked before the first byte is written. Each export appears whole, verified and with its manifest, or not
    at all; when one fails, those before it stay. `progress` is called at every stage.

    Raises InputError for a request that cannot be built, VerificationError when an export does not compute what it should,
    ExportError when it cannot be written.
    """
    tell = progress or (lambda step: None)
    plan = plan_build(request)
    count = len(plan.exports)
    tell(BuildStep("loading", None, 0, count))
    learngene = read_tensors(plan.file)
    results = []
    for index, export in enumerate(plan.exports):

        def report(stage: Stage, export: PlannedExport = export, index: int = index) -> None:
            tell(BuildStep(stage, export, index, count))

        results.append(_build(plan, learngene, export, report))
        report("done")
    return tuple(results)


def _build(plan: BuildPlan, learngene: Learngene, export: PlannedExport, report: Callable[[Stage], None]) -> BuiltExport:
    request = plan.request
    descendant = plan.descendant_record(export.depth)
    with ExitStack() as stack:
        if export.kind == "pytorch":
            temporary = stack.enter_context(new_folder(export.target, overwrite=request.overwrite))
            manifest_file = temporary / FOLDER_MANIFEST
        else:
            # Renamed in reverse: the file first and its manifest at once after it. A kill between the two leaves a manifest
            # whose hash is not the file's, which `tleg verify` reports.
            manifest_file = stack.enter_context(new_file(export.manifest, overwrite=True))
            temporary = stack.enter_context(new_file(export.target, overwrite=request.overwrite))
        begin = time.perf_counter()
        with _final_name(temporary, export.target):
            report("writing")
            _write(temporary, plan, learngene, export)
            written = time.perf_counter()
            verification = None
            if request.verify:
                report("verifying")
                from tleg.export.verification import verify_export

                depths = _depths_to_verify(plan, export)
                verification = verify_export(temporary, export.kind, learngene, descendant, depths)
        record = plan.learngene_record()
        manifest = Manifest(
            ancestry=record.ancestry,
            learngene=record,
            descendant=descendant,
            file=describe_file(temporary, export.target.name, export.kind),
            versions=versions(*_libraries(plan, export.kind, verified=request.verify)),
            verification=verification,
        )
        write_manifest(manifest_file, manifest)
        verified = time.perf_counter()
    return BuiltExport(export.target, export.manifest, manifest, written - begin, verified - written)


@contextmanager
def _final_name(temporary: Path, target: Path) -> Iterator[None]:
    """Name the target, not the temporary file, in errors; and a file that cannot be read back has failed verification."""
    try:
        yield
    except TlegError as error:
        kind = VerificationError if isinstance(error, FileFormatError) else type(error)
        text = str(error).replace(str(temporary), str(target)).replace(temporary.name, target.name)
        raise kind(text) from error


def _depths_to_verify(plan: BuildPlan, export: PlannedExport) -> tuple[int, ...]:
    """A fixed export's own depth; for an elastic one those asked for, the auxiliary model's, and the shallowest."""
    if export.depth is not None:
        return (export.depth,)
    return tuple(sorted({1, plan.header.auxiliary.depth, *plan.request.depths}))


def _libraries(plan: BuildPlan, kind: ExportKind, *, verified: bool) -> tuple[str, ...]:
    """The libraries that had a part in an export."""
    names = ["tleg", "numpy", "safetensors"]
    names += ["onnx"] if kind != "pytorch" else []
    names += ["onnxruntime"] if kind != "pytorch" and verified else []
    traced = kind == "onnx" and plan.header.architecture.structure is None
    names += ["torch", "timm"] if verified or traced else []
    return tuple(names)


def _write(path: Path, plan: BuildPlan, learngene: Learngene, export: PlannedExport) -> None:
    tensors = dict(learngene.tensors)
    if plan.head.policy == "new":
        tensors |= new_head(tensors["head.weight"].shape[1], plan.head.num_classes, plan.request.seed)
    structure = plan.header.architecture.in_layout(plan.request.layout).structure
    if export.kind == "pytorch":
        assert export.depth is not None
        _write_folder(path, plan, tensors, export.depth)
    elif structure is None:
        _write_traced(path, plan, learngene, export)
    else:
        _write_graph(path, plan, structure, tensors, export)


def _write_folder(path: Path, plan: BuildPlan, tensors: Mapping[str, Array], depth: int) -> None:
    from tleg.export.timm_folder import save_timm_folder

    state: dict[str, Any] = expand_tensors(tensors, plan.header.basis, depth)
    if plan.request.layout == "official":
        state = {official_layout_name(name): values for name, values in state.items()}
    if plan.request.precision == "float16":
        state = {name: values.astype(np.float16) for name, values in state.items()}
    save_timm_folder(
        path,
        state,
        plan.header.architecture,
        depth,
        preprocessing=plan.header.preprocessing,
        layout=plan.request.layout,
        num_classes=plan.head.num_classes,
        classes=plan.classes,
    )


def _write_graph(
    path: Path, plan: BuildPlan, structure: Structure, tensors: Mapping[str, Array], export: PlannedExport
) -> None:
    from tleg.export.onnx_compact import write_compact
    from tleg.export.onnx_elastic import write_elastic
    from tleg.export.onnx_plain import write_plain

    request, basis, metadata = plan.request, plan.header.basis, _metadata(plan, export)
    if export.depth is None:
        write_elastic(path, structure, basis, tensors, layout=request.layout, precision=request.precision, metadata=metadata)
        return
    write = write_plain if export.kind == "onnx" else write_compact
    write(
        path, structure, basis, tensors, export.depth, layout=request.layout, precision=request.precision, metadata=metadata
    )


def _write_traced(path: Path, plan: BuildPlan, learngene: Learngene, export: PlannedExport) -> None:
    from tleg.descendant import expand
    from tleg.export.onnx_torch import write_torch

    request = plan.request
    assert export.depth is not None
    model = expand(
        learngene,
        export.depth,
        layout=request.layout,
        num_classes=plan.head.num_classes,
        dtype=request.precision,
        seed=request.seed,
    )
    write_torch(path, model, plan.header.architecture.input_size, metadata=_metadata(plan, export))


def _metadata(plan: BuildPlan, export: PlannedExport) -> dict[str, str]:
    from tleg.export.onnx_file import OPSET
    from tleg.export.onnx_metadata import Input, OnnxMetadata, encode_metadata

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
