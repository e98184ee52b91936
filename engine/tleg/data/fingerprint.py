"""`python -m tleg.data.fingerprint RUN_DIR`: what changed of that on which a run depends, before it goes on.

Prints {"changes": [{"text": …, "acceptable": …}]}, or {"problem": …} when the data cannot be opened. A process of its own,
in the run's working folder: whoever resumes a run stays where it is, and without numpy.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tleg.data.datasets import Data, ImageSet, Wanted
from tleg.data.open import Part, open_data
from tleg.errors import TlegError
from tleg.files import hash_file
from tleg.learngene.container import read_header
from tleg.learngene.header import LearngeneHeader
from tleg.models.timm_folder import CONFIG
from tleg.recipes.io import from_values
from tleg.references import resolve
from tleg.runs.inputs import (
    ClassListing,
    DataListing,
    InputChange,
    ModelListing,
    RunInputs,
    SplitListing,
    compare_data,
    compare_models,
    read_inputs,
)
from tleg.runs.run import RunFolder
from tleg.runs.spec import RunSpec, read_spec
from tleg.serialize import encode

_HEX_DIGITS = 16


def list_data(data: Data) -> DataListing:
    """Return the listing of a data set. An image file costs one look at its size; a million take some seconds."""
    form = {"channels": data.channels, "image_size": data.image_size, "mean": data.mean, "std": data.std}
    return DataListing(
        data.classes,
        encode(form),
        # Images without classes are counted as one.
        _list(data.train, len(data.classes) or 1),
        _list(data.validation, len(data.classes) or 1),
        divided=isinstance(data.train, Part),
    )


def _list(images: ImageSet, classes: int) -> SplitListing:
    """Names are those of the files alone: a class folder that is renamed holds the same images."""
    counts = [0] * classes
    digests = [hashlib.sha256() for _ in range(classes)]
    labels = bytearray()
    for index in range(len(images)):
        label = images.label(index)
        path = images.name(index)
        counts[label] += 1
        digests[label].update(os.fsencode(f"{os.path.basename(path)}/{_size(path)}\0"))
        labels += label.to_bytes(4, "little")
    whole = hashlib.sha256(bytes(labels))
    pixels = _pixels(images)
    if pixels is not None:
        whole.update(pixels)
    listed = tuple(
        ClassListing(count, digest.hexdigest()[:_HEX_DIGITS]) for count, digest in zip(counts, digests, strict=True)
    )
    return SplitListing(listed, whole.hexdigest()[:_HEX_DIGITS])


def _size(path: str) -> int:
    """Bytes of an image file; -1 for an image in an archive or in memory."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return -1


def _pixels(images: Any) -> memoryview | None:
    """The pixels of a set that is held in memory, whose images have no names to tell them apart by."""
    while isinstance(images, Part):
        images = images.whole
    array = getattr(images, "images", None)
    return None if array is None or not hasattr(array, "tobytes") else memoryview(array.tobytes())


_WEIGHTS: Final = (".safetensors", ".bin", ".pth", ".pt")


def hash_learngene(role: str, name: str, path: Path | None, header: LearngeneHeader) -> ModelListing:
    """Return the listing of a learngene. What it reached may be written into it at any time, and is no part of it."""
    form = {
        "architecture": encode(header.architecture),
        "basis": encode(header.basis),
        "preprocessing": encode(header.preprocessing),
        "classes": header.classes,
    }
    return ModelListing(role, name, _place(path), str(header.sha256), _hash_text(form))


def hash_folder(role: str, name: str, folder: Path) -> ModelListing:
    """Return the listing of a folder that timm loads: its files of weights, and its config.json. Raises OSError."""
    weights = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS and path.is_file())
    config = folder / CONFIG
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


def look_again(folder: RunFolder) -> list[InputChange]:
    """Return what changed since the run began. Raises TlegError when the data cannot be opened."""
    known = read_inputs(folder)
    return [] if known is None else list(_changes(read_spec(folder), known))


def _changes(spec: RunSpec, known: RunInputs) -> Iterator[InputChange]:
    recipe = from_values(spec.kind, spec.recipe)
    if known.data is not None:
        data = open_data(recipe.data, recipe.validation_split, recipe.recipe.seed, Wanted(recipe.images))
        yield from compare_data(known.data, list_data(data))
    for model in known.models:
        if model.path is None:
            continue
        path = Path(model.path)
        if not path.exists():
            yield InputChange(f"the {model.role} {model.name} is gone", acceptable=False)
        else:
            yield from compare_models([model], [look_at_model(model, path)])


def look_at_model(model: ModelListing, path: Path) -> ModelListing:
    """Return the listing of what is at a model's path now. Raises InputError when it is damaged."""
    if model.role == "learngene" or (model.role == "start" and resolve(path).kind == "learngene"):
        return hash_learngene(model.role, model.name, path, read_header(path))
    return hash_folder(model.role, model.name, path) if path.is_dir() else hash_weights(model.role, model.name, path)


def main() -> None:
    """Look, and print."""
    try:
        answer: dict[str, Any] = {"changes": [encode(each) for each in look_again(RunFolder(Path(sys.argv[1])))]}
    except TlegError as error:
        answer = {"problem": str(error), **error.about}
    except OSError as error:
        answer = {"problem": str(error), "field": ("data",), "code": "system"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
