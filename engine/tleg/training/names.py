"""What a name means, where its model is to be opened: what lies on the disk, also of a run that is not finished.

Light: torch and timm are imported for such a run, and for a name that only timm may know.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

from tleg.errors import ArchitectureError, NotFoundError
from tleg.references import Kind, Reference, expect, resolve


def resolve_model(text: str, *kinds: Kind, runs_dir: Path | None = None) -> Reference:
    """Return what a text names, of some kinds, with a path for what lies on the disk.

    A run that is not finished gives its last checkpoint, as a file or folder of its name that is removed when the process
    ends. Raises InputError and FileFormatError.
    """
    download = "timm" in kinds
    try:
        reference = resolve(text, runs_dir, download=download, is_timm_name=_is_timm_name)
    except NotFoundError as error:
        if download and Path(text).name == text:
            from tleg.models.architecture import normalise_name

            try:
                normalise_name(text)
            except ArchitectureError as unknown:
                raise NotFoundError(f"no folder and no run is called '{text}', and {unknown}") from error
        raise
    return expect(materialise(reference, kinds), *kinds)


def materialise(reference: Reference, kinds: tuple[Kind, ...] = ()) -> Reference:
    """Return the reference, or a file or folder with the last checkpoint of the run that it names.

    Raises InputError when the run has no checkpoint, or none of the kinds that are wanted, where any are.
    """
    if reference.kind != "run" or reference.run is None:
        return reference
    from tleg.training.checkpoint import learngene_of_checkpoint, model_folder_of_checkpoint

    run = reference.run
    learns = reference.learns
    if kinds and ("learngene" if learns else "folder") not in kinds:
        expect(Reference(reference.text, "learngene" if learns else "folder", run=run), *kinds)
    place = Path(tempfile.mkdtemp(prefix="tleg-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    if learns:
        path = place / f"{run.id}.safetensors"
        learngene_of_checkpoint(run.path).save(path)
        return Reference(reference.text, "learngene", path, run=run)
    return Reference(reference.text, "folder", model_folder_of_checkpoint(run.path, "last", place / run.id), run=run)


def _is_timm_name(text: str) -> bool:
    import timm

    from tleg.models.architecture import normalise_name

    try:
        normalise_name(text)
    except ArchitectureError:
        return bool(timm.is_model(text.partition(".")[0]))  # Another tag is refused with the tags that there are.
    return True
