"""Checking again what was written earlier: a learngene, an ONNX export, or a folder that timm loads.

Every check has an outcome and says in words what it found. What cannot be checked, because a manifest or the learngene is
not at hand, is said as well, and is no failure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tleg.container import read_file
from tleg.errors import FileFormatError, InputError, TlegError, VerificationError
from tleg.export.formats import ExportKind
from tleg.export.manifest import (
    DescendantRecord,
    LearngeneRecord,
    Manifest,
    Verification,
    describe_file,
    manifest_path,
    read_manifest,
)
from tleg.learngene import Learngene, load
from tleg.library import resolve, shipped

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
    """All checks of one path, and the figures of the comparison with the learngene's descendant where there was one."""

    path: Path
    kind: Literal["learngene"] | ExportKind
    checks: tuple[Check, ...]
    verification: Verification | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(check.outcome == "failed" for check in self.checks)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where an export comes from, by its manifest or by its own metadata."""

    learngene: LearngeneRecord
    descendant: DescendantRecord
    depths: tuple[int, ...]


def check_path(path_or_name: str | Path, learngene: str | Path | None = None) -> Report:
    """Check a learngene (or the name of a shipped one), an ONNX export or a folder that timm loads.

    learngene  the learngene of an export, where it is not beside it, in the working folder or among the shipped ones

    Raises InputError when there is nothing at the path, or `learngene` is not the one that the export names.
    """
    path = resolve(path_or_name)
    if path.is_dir():
        return _check_folder(path, learngene)
    if path.suffix == ".onnx":
        return _check_onnx(path, learngene)
    if path.suffix == ".json":
        raise InputError(f"{path} is no learngene and no export; name the file or folder that it belongs to")
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
    from tleg.export.runtime import OnnxExport, open_export
    from tleg.export.verification import check_graph, noise

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
        same = (manifest.learngene, manifest.descendant) == (metadata.learngene, metadata.descendant)
        text = "its metadata and its manifest name the same learngene and descendant"
        other = "its metadata and its manifest name different learngenes or descendants"
        checks.append(Check("lineage", "passed" if same else "failed", text if same else other))
    auxiliary = metadata.learngene.auxiliary_depth
    depths = (opened[0].depth,) if opened[0].depth is not None else tuple(sorted({1, auxiliary}))
    origin = _Origin(metadata.learngene, metadata.descendant, depths)
    verification, compared = _check_reference(path, metadata.kind, origin, given)
    return Report(path, metadata.kind, (*checks, compared), verification)


def _check_folder(path: Path, given: str | Path | None) -> Report:
    from tleg.export.timm_folder import load_timm_folder, read_config

    read_config(path)
    manifest, checks = _check_manifest(path, "pytorch")

    def run() -> str:
        import torch

        from tleg.export.verification import noise

        model = load_timm_folder(path).float()
        size = tuple(model.pretrained_cfg["input_size"])
        with torch.inference_mode():
            logits = model(torch.from_numpy(noise(size, 2))).numpy()
        _require_finite(logits, model.num_classes)
        return "timm loads it, and its logits are finite"

    checks.append(_attempt("runs", run))
    if manifest is None or manifest.descendant.depth is None:
        detail = "it names no learngene, as a fine-tuned model does not; there is nothing to compare it with"
        return Report(path, "pytorch", (*checks, Check("reference", "not checked", detail)))
    origin = _Origin(manifest.learngene, manifest.descendant, (manifest.descendant.depth,))
    verification, compared = _check_reference(path, "pytorch", origin, given)
    return Report(path, "pytorch", (*checks, compared), verification)


def _require_finite(logits: NDArray[Any], classes: int) -> None:
    if logits.shape != (2, classes) or not np.isfinite(logits).all():
        raise VerificationError("its logits are not finite, or not one for each class")


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
    path: Path, kind: ExportKind, origin: _Origin, given: str | Path | None
) -> tuple[Verification | None, Check]:
    """Compare an export with the descendants of its learngene, when that is at hand."""
    learngene = _find_learngene(path, origin.learngene, given)
    if learngene is None:
        where = "beside it, in the working folder or among the shipped ones; --learngene names it"
        detail = f"no learngene with the hash {origin.learngene.sha256[:12]}… ({origin.learngene.file}) is {where}"
        return None, Check("reference", "not checked", detail)
    from tleg.export.verification import verify_export

    try:
        verification = verify_export(path, kind, learngene, origin.descendant, origin.depths)
    except TlegError as error:
        return None, Check("reference", "failed", str(error))
    detail = (
        f"largest error {verification.max_abs_error:.1e} (relative {verification.relative_error:.1e}), "
        f"same class for {verification.argmax_agreement:.0%} of images"
    )
    return verification, Check("reference", "passed", detail)


def _find_learngene(path: Path, record: LearngeneRecord, given: str | Path | None) -> Learngene | None:
    if given is not None:
        learngene = load(given)
        if learngene.header.sha256 != record.sha256:
            raise InputError(f"{given} is not the learngene of {path}: its hash is another")
        return learngene
    for candidate in _candidates(path, record):
        try:
            if candidate.is_file() and read_file(candidate).header.sha256 == record.sha256:
                return load(candidate)
        except TlegError:
            continue
    return None


def _candidates(path: Path, record: LearngeneRecord) -> Iterator[Path]:
    """Where an export's learngene may lie. Its file name comes from the export, so it must not lead anywhere else."""
    name = Path(record.file).name
    if name:
        here = path.resolve().parent
        yield from (here / name, here.parent / name, Path.cwd() / name)
    yield from shipped().values()


def _attempt(name: str, action: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", action())
    except TlegError as error:
        return Check(name, "failed", str(error))
