"""Where a folder that timm loads comes from: what its training.json says, or the manifest that it was built with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tleg.errors import FileFormatError, InputError, describe_os_error
from tleg.export.manifest import FOLDER_MANIFEST, MAX_BYTES, LearngeneRecord, read_manifest
from tleg.files import hash_file
from tleg.models.timm_folder import TimmFolder, weights_file

TRAINING_RECORD: Final = "training.json"
_MAX_GENERATIONS: Final = 100  # Folders trained from folders.


def hash_weights(file: Path) -> str:
    """Return the hash of a folder's weights. Raises InputError when they cannot be read."""
    try:
        return hash_file(file)
    except OSError as error:
        raise InputError(f"cannot read {file}: {describe_os_error(error)}", code="system") from error


def read_training(path: Path) -> Mapping[str, Any] | None:
    """Return what a folder's training.json says; None when it has none. Raises FileFormatError."""
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
        record = read_training(path)
        if record is None and (path / FOLDER_MANIFEST).is_file():
            record = read_manifest(path / FOLDER_MANIFEST).lineage.training
    except FileFormatError:
        return {}
    return record or {}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def learngene_of(folder: TimmFolder, sha256: str, training: Mapping[str, Any] | None) -> LearngeneRecord | None:
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


def earlier_lineage(folder: Path) -> dict[str, Any]:
    """Return what a folder's own training, or else the build that made it, says of where it comes from: {'from': …}, or {}.

    A build counts while the weights are those that were built.
    """
    place = folder / TRAINING_RECORD
    if not place.is_file():
        return _built_from(folder)
    try:
        return {"from": json.loads(place.read_text())["lineage"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _built_from(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_manifest(folder / FOLDER_MANIFEST)
        weights = weights_file(folder)
        if manifest.learngene is None or manifest.file.files.get(weights.name) != hash_file(weights):
            return {}
    except (FileFormatError, OSError):
        return {}
    learngene = manifest.learngene
    return {
        "from": {
            "learngene": learngene.name,
            "sha256": learngene.sha256,
            "ancestry": learngene.ancestry,
            "depth": manifest.model.depth,
        }
    }
