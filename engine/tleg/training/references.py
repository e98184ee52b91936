"""Models that a user names: a path, a run, or something that timm or the catalogue knows."""

import atexit
import shutil
import tempfile
from pathlib import Path

from tleg.errors import InputError
from tleg.places import runs_folder
from tleg.runs.control import is_run
from tleg.runs.folder import RunFolder
from tleg.runs.listing import resolve_run
from tleg.runs.results import LEARNGENE, MODEL
from tleg.runs.state import recall_state
from tleg.training.timm_weights import split_reference


def resolve_model(text: str) -> str:
    """Return the folder of the model of a run of `tleg finetune`, or the text itself when it names no run.

    A run that is not finished gives the model of its last checkpoint, in a temporary folder. Raises InputError and
    FileFormatError when the run has none.
    """
    run = find_run(text)
    if run is None:
        return text
    result = _result(run, MODEL)
    if result is not None:
        return str(result)
    from tleg.training.kept import model_folder_of_checkpoint

    place = tempfile.mkdtemp(prefix="tleg-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return str(model_folder_of_checkpoint(run.path, "last", Path(place) / run.id))


def find_run(text: str) -> RunFolder | None:
    """Return the run that a text names by its path, or by its id or the beginning of one; None when it names none.

    Whatever else has the name comes first: a file, a folder, a model of timm.
    """
    path = Path(text)
    if path.exists():
        return RunFolder(path.absolute()) if path.is_dir() and is_run(RunFolder(path.absolute())) else None
    if split_reference(text) is not None or path.name != text:
        return None
    try:
        return resolve_run(text, runs_folder())
    except InputError:
        return None


def _result(run: RunFolder, name: str) -> Path | None:
    """What a finished run left: where it was asked to, or in its own folder."""
    state = recall_state(run)
    if state.state != "finished":
        return None
    places = [Path(state.result)] if state.result else []
    return next((path for path in (*places, run.exports / name) if path.exists()), None)


def finished_learngene(run: RunFolder) -> Path | None:
    """The learngene of a finished run of `tleg learn`, or None."""
    return _result(run, LEARNGENE)
