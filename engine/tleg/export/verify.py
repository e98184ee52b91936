"""Checking again what was written earlier: a learngene, an ONNX export, or a folder that timm loads, against its source."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tleg.errors import FileFormatError, InputError, TlegError, VerificationError, concerning
from tleg.export.formats import ExportKind
from tleg.export.manifest import (
    DescendantRecord,
    FolderRecord,
    LearngeneRecord,
    Manifest,
    Range,
    Verification,
    describe_file,
    manifest_path,
    read_manifest,
)
from tleg.export.onnx.metadata import OnnxMetadata
from tleg.files import hash_file
from tleg.learngene.container import read_file
from tleg.models.learngene import Learngene, load
from tleg.models.timm_folder import CONFIG, weights_file
from tleg.references import find, shipped

if TYPE_CHECKING:
    from tleg.export.comparison import Reference


def find_reference(path: Path, named: Manifest | OnnxMetadata, given: str | Path | None) -> "Reference | str":
    """Return what an export must compute, or in words why that is not known.

    path   of the export, beside which its origin is looked for
    named  where it says that it comes from
    given  the learngene or folder, when somebody names it

    Raises InputError when `given` is not what the export names, or cannot be read.
    """
    if named.folder is not None:
        return _folder_reference(path, named.folder, given)
    assert named.learngene is not None, "a descendant has a learngene"
    assert named.descendant is not None, "what is no folder is a descendant"
    return _learngene_reference(path, named.learngene, named.descendant, given)


def _learngene_reference(
    path: Path, record: LearngeneRecord, descendant: DescendantRecord, given: str | Path | None
) -> "Reference | str":
    learngene = _find_learngene(path, record, given)
    if learngene is None:
        where = "beside it, in the working folder or among the shipped ones; --learngene names it"
        return f"no learngene with the hash {record.sha256[:12]}… ({record.file}) is {where}"
    from tleg.export.comparison import learngene_reference

    elastic = tuple(sorted({1, record.auxiliary_depth or 1}))
    return learngene_reference(learngene, descendant, elastic if descendant.depth is None else (descendant.depth,))


def _find_learngene(path: Path, record: LearngeneRecord, given: str | Path | None) -> Learngene | None:
    if given is not None:
        learngene = load(given)
        if learngene.header.sha256 != record.sha256:
            raise InputError(
                f"{given} is not the learngene of {path}: its hash is another", field="learngene", code="mismatch"
            )
        return learngene
    for candidate in (*_places(path, record.file or ""), *shipped().values()):
        try:
            if candidate.is_file() and read_file(candidate).header.sha256 == record.sha256:
                return load(candidate)
        except TlegError:
            continue
    return None


def _folder_reference(path: Path, record: FolderRecord, given: str | Path | None) -> "Reference | str":
    folder = _find_folder(path, record, given)
    if folder is None:
        where = "beside it, in the folder above or in the working folder; --learngene names it"
        return f"no folder {record.name} whose weights have the hash {record.sha256[:12]}… is {where}"
    from tleg.export.from_folder import folder_reference

    return folder_reference(folder, record)


def _find_folder(path: Path, record: FolderRecord, given: str | Path | None) -> Path | None:
    if given is not None:
        folder = find(given, "folder", "learngene", "onnx")
        if not (folder / CONFIG).is_file():
            raise InputError(
                f"{given} holds no {CONFIG}; {path} was made from the folder {record.name}, so name that",
                field="learngene",
                code="mismatch",
            )
        if not _has_weights(folder, record):
            raise InputError(
                f"{given} is not the folder that {path} was made from: its weights have another hash",
                field="learngene",
                code="mismatch",
            )
        return folder
    return next((folder for folder in _places(path, record.name) if _has_weights(folder, record)), None)


def _has_weights(folder: Path, record: FolderRecord) -> bool:
    try:
        return hash_file(weights_file(folder)) == record.sha256
    except (OSError, InputError):
        return False


def _places(path: Path, name: str) -> Iterator[Path]:
    """Where something of a name may lie: beside a path, in the folder above, in the working folder."""
    name = Path(name).name
    if name:
        here = path.resolve().parent
        yield from (here / name, here.parent / name, Path.cwd() / name)


Outcome = Literal["passed", "failed", "not checked"]
ELASTIC_DEPTHS: Final = (1, 2)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what was looked at, how it came out, and what was found."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one path, and the figures of the comparison with where it comes from, when there was one."""

    path: Path
    kind: Literal["learngene"] | ExportKind
    checks: tuple[Check, ...]
    verification: Verification | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(check.outcome == "failed" for check in self.checks)


@concerning("path")
def check_path(path_or_name: str | Path, learngene: str | Path | None = None) -> Report:
    """Check a learngene (or the name of a shipped one), an ONNX export or a folder that timm loads.

    learngene  what an export was made from, its learngene or the folder that timm loads, where it is not beside it, in the
               folder above, in the working folder or among the shipped ones

    Raises InputError when there is nothing at the path, or `learngene` is not what the export names.
    """
    path = find(path_or_name, "learngene", "folder", "onnx")
    if path.is_dir():
        return _check_folder(path, learngene)
    if path.suffix == ".onnx":
        return _check_onnx(path, learngene)
    if path.suffix == ".json":
        raise InputError(
            f"{path} is no learngene and no export; name the file or folder that it belongs to",
            field="path",
            code="wrong-kind",
        )
    return _check_learngene(path)


def _check_learngene(path: Path) -> Report:
    try:
        file = read_file(path)
    except FileFormatError as error:
        return Report(path, "learngene", (Check("header", "failed", str(error)),))
    header = Check("header", "passed", f"format and {len(file.tensors)} tensors are as they should be")
    content = _attempt("tensors", lambda: _load_learngene(path))
    return Report(path, "learngene", (header, content))


def _load_learngene(path: Path) -> str:
    learngene = load(path)
    return f"{learngene.parameters:,} finite values with the hash of the header"


def _check_onnx(path: Path, given: str | Path | None) -> Report:
    from tleg.export.comparison import check_graph, noise
    from tleg.export.runtime import OnnxExport, open_export

    kind: ExportKind = "onnx"
    manifest, checks = _check_manifest(path, kind)
    opened: list[OnnxExport] = []

    def check() -> str:
        check_graph(path)
        return "onnx.checker accepts it"

    def run() -> str:
        export = open_export(path)
        opened.append(export)
        for depth in ELASTIC_DEPTHS if export.elastic else (export.depth,):
            _require_finite(export.run(noise(export.input_size, 2), depth), export.num_classes)
        return "ONNX Runtime opens it, and its logits are finite"

    checks += [_attempt("graph", check), _attempt("runs", run)]
    if not opened:
        return Report(path, kind, tuple(checks))
    metadata = opened[0].metadata
    if manifest is not None:
        of_manifest = (manifest.learngene, manifest.descendant, manifest.folder)
        same = of_manifest == (metadata.learngene, metadata.descendant, metadata.folder)
        text = "its metadata and its manifest name the same origin"
        other = "its metadata and its manifest name different learngenes, descendants or folders"
        checks.append(Check("lineage", "passed" if same else "failed", text if same else other))
    verification, compared = _check_reference(path, metadata.kind, metadata, given)
    checks.append(compared)
    if compared.outcome == "not checked" and metadata.model.dtype == "float16":
        depths: tuple[int | None, ...] = (opened[0].depth,)
        if opened[0].elastic and metadata.learngene is not None:
            depths = (1, metadata.learngene.auxiliary_depth)
        checks.append(_check_float16(path, metadata.kind, opened[0].input_size, depths))
    return Report(path, metadata.kind, tuple(checks), verification)


def _check_float16(path: Path, kind: ExportKind, input_size: tuple[int, int, int], depths: Sequence[int | None]) -> Check:
    """Run a float16 export, for which there is no reference at hand, in float16 arithmetic."""
    from tleg.export.comparison import float16_images, float16_runner
    from tleg.export.float16 import Watch
    from tleg.export.onnx.float16 import can_run, load

    watch = Watch()

    def run() -> str:
        runner, name = float16_runner(path, kind, watch, None)
        for depth in depths:
            runner(depth, float16_images(path, input_size))
        return f"{Range(watch.largest, watch.where)}, computed by {name}"

    if kind == "onnx" and not can_run(load(path)):
        detail = "what PyTorch traced runs in float16 arithmetic only with the model that it was made from"
        return Check("float16", "not checked", detail)
    return _attempt("float16", run)


def _check_folder(path: Path, given: str | Path | None) -> Report:
    from tleg.models.timm_folder import read_timm_folder

    read_timm_folder(path)
    manifest, checks = _check_manifest(path, "pytorch")
    sizes: list[tuple[int, int, int]] = []

    def run() -> str:
        import torch

        from tleg.export.comparison import noise
        from tleg.models.pretrained import open_folder

        opened = open_folder(path)
        sizes.append(opened.input_size)
        with torch.inference_mode():
            logits = opened.model.float()(torch.from_numpy(noise(opened.input_size, 2))).numpy()
        _require_finite(logits, opened.num_classes)
        return "timm loads it, and its logits are finite"

    checks.append(_attempt("runs", run))
    if manifest is None:
        detail = "it names no learngene, as a fine-tuned model does not; there is nothing to compare it with"
        verification, compared = None, Check("reference", "not checked", detail)
    else:
        verification, compared = _check_reference(path, "pytorch", manifest, given)
    checks.append(compared)
    if compared.outcome == "not checked" and sizes and _holds_float16(path):
        checks.append(_check_float16(path, "pytorch", sizes[0], (None,)))
    return Report(path, "pytorch", tuple(checks), verification)


def _holds_float16(folder: Path) -> bool:
    """Whether a folder's weights are float16."""
    from safetensors import safe_open

    from tleg.models.timm_folder import weights_file

    weights = weights_file(folder)
    if weights.suffix != ".safetensors":
        return False
    with safe_open(weights, framework="numpy") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118, it is no mapping


def _require_finite(logits: NDArray[Any], classes: int) -> None:
    if logits.shape != (2, classes) or not np.isfinite(logits).all():
        raise VerificationError("its logits are not finite, or not one for each class", code="not-finite")


def _check_manifest(path: Path, kind: ExportKind) -> tuple[Manifest | None, list[Check]]:
    """Read an export's manifest and compare the bytes with it."""
    place = manifest_path(path, kind)
    if not place.exists():
        return None, [Check("bytes", "not checked", f"there is no {place.name}")]
    try:
        manifest = read_manifest(place)
    except FileFormatError as error:
        return None, [Check("manifest", "failed", str(error))]
    found = describe_file(path, manifest.file.name, kind)
    changed = [name for name, digest in manifest.file.files.items() if found.files.get(name) != digest]
    if changed or not manifest.file.files:
        detail = (
            f"{', '.join(changed) or 'the file'} is not what the manifest describes: it was changed, or its build was "
            "interrupted; build it again with --force"
        )
        return manifest, [Check("bytes", "failed", detail)]
    return manifest, [Check("bytes", "passed", f"{found.bytes:,} bytes with the hash of the manifest")]


def _check_reference(
    path: Path, kind: ExportKind, named: Manifest | OnnxMetadata, given: str | Path | None
) -> tuple[Verification | None, Check]:
    """Compare an export with what it comes from, when that is at hand."""
    reference = find_reference(path, named, given)
    if isinstance(reference, str):
        return None, Check("reference", "not checked", reference)
    from tleg.export.comparison import verify_export

    try:
        verification = verify_export(path, kind, reference)
    except TlegError as error:
        return None, Check("reference", "failed", str(error))
    return verification, Check("reference", "passed", str(verification))


def _attempt(name: str, action: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", action())
    except TlegError as error:
        return Check(name, "failed", str(error))
