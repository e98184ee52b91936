"""Finding again what an export was made from, to compare it with: its learngene, or the folder that timm loads.

Names come from the export, so they must not lead anywhere else than into the folders that are searched; hashes decide.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tleg.atomic import hash_file
from tleg.catalogue import shipped
from tleg.container import read_file
from tleg.errors import InputError, TlegError
from tleg.export.manifest import DescendantRecord, FolderRecord, LearngeneRecord, Manifest
from tleg.export.onnx_metadata import OnnxMetadata
from tleg.learngene import Learngene, load
from tleg.models.timm_folder import CONFIG, weights_file
from tleg.references import find

if TYPE_CHECKING:
    from tleg.export.verification import Reference


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
    from tleg.export.verification import learngene_reference

    elastic = tuple(sorted({1, record.auxiliary_depth or 1}))
    return learngene_reference(learngene, descendant, elastic if descendant.depth is None else (descendant.depth,))


def _find_learngene(path: Path, record: LearngeneRecord, given: str | Path | None) -> Learngene | None:
    if given is not None:
        learngene = load(given)
        if learngene.header.sha256 != record.sha256:
            raise InputError(f"{given} is not the learngene of {path}: its hash is another")
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
            raise InputError(f"{given} holds no {CONFIG}; {path} was made from the folder {record.name}, so name that")
        if not _has_weights(folder, record):
            raise InputError(f"{given} is not the folder that {path} was made from: its weights have another hash")
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
