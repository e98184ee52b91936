"""Checking again what was written earlier, a learngene or an export, against what it was made from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from tleg.errors import FileFormatError, InputError, TlegError, VerificationError, concerning
from tleg.export.backend import OpenExport, backend_of
from tleg.export.comparison import (
    Reference,
    float16_images,
    float16_runner,
    learngene_reference,
    noise,
    verify_export,
)
from tleg.export.formats import Format, format_of_path
from tleg.export.manifest import (
    DescendantRecord,
    FolderRecord,
    LearngeneRecord,
    Lineage,
    Manifest,
    Range,
    Verification,
    describe_file,
    manifest_path,
    read_manifest,
)
from tleg.export.runners import Arrays, Watch
from tleg.export.sources import folder_reference
from tleg.export.temperature import divide_learngene
from tleg.files import hash_file
from tleg.learngene.container import read_file
from tleg.learngene.profile import Depth
from tleg.models.learngene import Learngene, load
from tleg.models.timm_folder import CONFIG, weights_file
from tleg.references import find, shipped

if TYPE_CHECKING:
    from tleg.export.onnx.targets import TargetResult


def find_reference(path: Path, named: Lineage, given: str | Path | None) -> Reference | str:
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
) -> Reference | str:
    learngene = _find_learngene(path, record, given)
    if learngene is None:
        where = "beside it, in the working folder or among the shipped ones; --learngene names it"
        return f"no learngene with the hash {record.sha256[:12]}… ({record.file}) is {where}"
    if descendant.image_size is not None:
        learngene = learngene.at_image_size(descendant.image_size)
    learngene = divide_learngene(learngene, descendant.temperature)
    elastic = tuple(sorted({1, record.auxiliary_depth or 1}))
    return learngene_reference(learngene, descendant, elastic if descendant.expands_to is None else (descendant.expands_to,))


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


def _folder_reference(path: Path, record: FolderRecord, given: str | Path | None) -> Reference | str:
    folder = _find_folder(path, record, given)
    if folder is None:
        where = "beside it, in the folder above or in the working folder; --learngene names it"
        return f"no folder {record.name} whose weights have the hash {record.sha256[:12]}… is {where}"
    return folder_reference(folder, record)


def _find_folder(path: Path, record: FolderRecord, given: str | Path | None) -> Path | None:
    if given is not None:
        folder = find(given, "folder", "learngene", "export")
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
    """All checks of one path, and the figures of the comparison with where it comes from, when there was one.

    kind     'learngene', or the name of an export's format
    targets  what is known of an ONNX file in other runtimes, of those that were asked for
    """

    path: Path
    kind: str
    checks: tuple[Check, ...]
    verification: Verification | None = None
    targets: "tuple[TargetResult, ...]" = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed, and no runtime that was asked for refuses it."""
        return not any(check.outcome == "failed" for check in self.checks) and not any(
            each.outcome == "refused" for each in self.targets
        )


@concerning("path")
def check_path(path_or_name: str | Path, learngene: str | Path | None = None, targets: Sequence[str] = ()) -> Report:
    """Check a learngene (or the name of a shipped one), an export, or any folder that timm loads.

    learngene  what an export was made from, its learngene or the folder that timm loads, where it is not beside it, in the
               folder above, in the working folder or among the shipped ones

    targets    other runtimes to try an ONNX file in, see `tleg.export.onnx.targets`

    Raises InputError when there is nothing at the path, `learngene` is not what the export names, or a target is not known
    or its runtime not installed.
    """
    path = find(path_or_name, "learngene", "folder", "export")
    entry = format_of_path(path.name, is_folder=path.is_dir())
    if targets:
        from tleg.export.onnx.targets import check_targets

        check_targets(targets)
        if entry is None or not entry.name.startswith("onnx"):
            own = "none" if entry is None else f"of the format {entry.name}, which is run by {entry.opened_by} without it"
            raise InputError(f"--target is for ONNX files: {path} is {own}", field=("target", "path"), code="wrong-kind")
    if entry is not None:
        backend_of(entry).recognise(path)
        return _check_export(path, entry, learngene, targets)
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


def _check_export(path: Path, entry: Format, given: str | Path | None, targets: Sequence[str]) -> Report:
    backend = backend_of(entry)
    manifest, checks = _check_manifest(path, entry)
    try:
        accepted_by = backend.check_file(path)
        checks += [] if accepted_by is None else [Check("graph", "passed", f"{accepted_by} accepts it")]
    except TlegError as error:
        checks.append(Check("graph", "failed", str(error)))
    opened: list[OpenExport] = []

    def run() -> str:
        export = backend.open(path)
        opened.append(export)
        for depth in ELASTIC_DEPTHS if export.format.every_depth else (export.depth,):
            _require_finite(export, export.runner(depth, noise(export.input_size, 2)))
        gives = "logits are" if export.output.of_classes else f"{', '.join(export.output.names)} are"
        return f"{backend.note(path) or f'{entry.opened_by} opens it'}, and its {gives} finite"

    checks.append(_attempt("runs", run))
    if not opened:
        return Report(path, entry.name, tuple(checks))
    (export,) = opened
    if manifest is not None and export.lineage is not None:
        same = manifest.lineage == export.lineage
        text = "its metadata and its manifest name the same origin"
        other = "its metadata and its manifest name different learngenes, descendants or folders"
        checks.append(Check("lineage", "passed" if same else "failed", text if same else other))
    named = export.lineage or (None if manifest is None else manifest.lineage)
    verification, compared = _check_reference(path, export.format, named, given)
    checks.append(compared)
    if compared.outcome == "not checked" and export.precision == "float16":
        checks.append(_check_float16(export, named))
    tried: tuple[TargetResult, ...] = ()
    if targets:
        from tleg.export.onnx.targets import try_targets

        tried = try_targets(export, targets)
    return Report(path, export.format.name, tuple(checks), verification, tried)


def _check_float16(export: OpenExport, named: Lineage | None) -> Check:
    """Run a float16 export, for which there is no reference at hand, in float16 arithmetic."""
    depths: tuple[Depth | None, ...] = (export.depth,)
    if export.format.every_depth:
        known = None if named is None or named.learngene is None else named.learngene.auxiliary_depth
        depths = (1, known or 1)
    watch = Watch()
    try:
        found = float16_runner(export.path, export.format, watch, None, export.output)
        if found is None:
            return Check("float16", "not checked", backend_of(export.format).needs_model)
        runner, name = found
        for depth in dict.fromkeys(depths):
            runner(depth, float16_images(export.path, export.input_size))
    except TlegError as error:
        return Check("float16", "failed", str(error))
    return Check("float16", "passed", f"{Range(watch.largest, watch.where)}, computed by {name}")


def _require_finite(export: OpenExport, found: Arrays) -> None:
    if not all(np.isfinite(each).all() for each in found):
        raise VerificationError(f"its {', '.join(export.output.names)} are not finite", code="not-finite")
    if export.output.of_classes and [each.shape for each in found] != [(2, export.num_classes)]:
        raise VerificationError("its logits are not one for each class", code="not-finite")


def _check_manifest(path: Path, entry: Format) -> tuple[Manifest | None, list[Check]]:
    """Read an export's manifest and compare the bytes with it."""
    place = manifest_path(path, entry)
    if not place.exists():
        return None, [Check("bytes", "not checked", f"there is no {place.name}")]
    try:
        manifest = read_manifest(place)
    except FileFormatError as error:
        return None, [Check("manifest", "failed", str(error))]
    found = describe_file(path, manifest.file.name, manifest.file.kind)
    changed = [name for name, digest in manifest.file.files.items() if found.files.get(name) != digest]
    if changed or not manifest.file.files:
        detail = (
            f"{', '.join(changed) or 'the file'} is not what the manifest describes: it was changed, or its build was "
            "interrupted; build it again with --force"
        )
        return manifest, [Check("bytes", "failed", detail)]
    return manifest, [Check("bytes", "passed", f"{found.bytes:,} bytes with the hash of the manifest")]


def _check_reference(
    path: Path, entry: Format, named: Lineage | None, given: str | Path | None
) -> tuple[Verification | None, Check]:
    """Compare an export with what it comes from, when that is at hand."""
    if named is None:
        detail = "it names no learngene, as a fine-tuned model does not; there is nothing to compare it with"
        return None, Check("reference", "not checked", detail)
    reference = find_reference(path, named, given)
    if isinstance(reference, str):
        return None, Check("reference", "not checked", reference)
    try:
        verification = verify_export(path, entry, reference)
    except TlegError as error:
        return None, Check("reference", "failed", str(error))
    return verification, Check("reference", "passed", str(verification))


def _attempt(name: str, action: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", action())
    except TlegError as error:
        return Check(name, "failed", str(error))
