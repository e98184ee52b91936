"""Planning a build from a folder that timm loads: what it is and where it comes from, and what is refused. No torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.atomic import hash_file
from tleg.errors import FileFormatError, InputError, describe_os_error
from tleg.export.formats import export_name
from tleg.export.manifest import FOLDER_MANIFEST, MAX_BYTES, LearngeneRecord, read_manifest
from tleg.export.plan import BuildRequest, PlannedExport, check_targets, chosen_kinds
from tleg.models.timm_folder import TimmFolder, read_timm_folder
from tleg.runs.results import name_of

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
                "their own, which training takes off any rule; use --export onnx"
            )
    _refuse(request.depths, "--depth", path, "a depth")
    _refuse(request.layout, "--layout", path, "a layout")
    _refuse(request.num_classes, "--num-classes", path, "a head")
    if "pytorch" in kinds and request.precision != "float16":
        raise InputError(
            f"{path} is a folder that timm loads already; use --export onnx, or --dtype float16 to get one of half the size"
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
        raise InputError(f"{option} is for learngenes: the model in the folder {path} has {what} of its own; leave it out")


def _hash_weights(file: Path) -> str:
    try:
        return hash_file(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {describe_os_error(error)}") from error


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
