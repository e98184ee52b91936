"""Hashes of the models that a run names: of a learngene, a folder that timm loads, a file of weights. Nothing is loaded."""

import hashlib
import json
from pathlib import Path
from typing import Final

from tleg.atomic import hash_file
from tleg.header import LearngeneHeader
from tleg.runs.inputs import ModelListing
from tleg.schema import encode

_WEIGHTS: Final = (".safetensors", ".bin", ".pth", ".pt")


def hash_learngene(name: str, path: Path | None, header: LearngeneHeader) -> ModelListing:
    """Return the listing of a learngene. What it reached may be written into it at any time, and is no part of it."""
    form = {
        "architecture": encode(header.architecture),
        "basis": encode(header.basis),
        "preprocessing": encode(header.preprocessing),
        "classes": header.classes,
    }
    return ModelListing("learngene", name, _place(path), str(header.sha256), _hash_text(form))


def hash_folder(role: str, name: str, folder: Path) -> ModelListing:
    """Return the listing of a folder that timm loads: its files of weights, and its config.json. Raises OSError."""
    weights = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS and path.is_file())
    config = folder / "config.json"
    form = hash_file(config) if config.is_file() else ""
    digest = hashlib.sha256("/".join(hash_file(path) for path in weights).encode()).hexdigest()
    return ModelListing(role, name, _place(folder), digest, form)


def hash_weights(role: str, name: str, file: Path) -> ModelListing:
    """Return the listing of a file of weights. Raises OSError."""
    return ModelListing(role, name, _place(file), hash_file(file), "")


def _place(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _hash_text(document: object) -> str:
    return hashlib.sha256(json.dumps(encode(document), sort_keys=True).encode()).hexdigest()
