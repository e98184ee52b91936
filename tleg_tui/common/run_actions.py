"""What can be done with a run: come back to it, resume it, export what it made; and why not, where that is impossible."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tleg.errors import InputError
from tleg.learngene.basis import parse_depths
from tleg.paths import runs_folder
from tleg.runs.allowed import Action, allows, refusal
from tleg.runs.run import RunFolder
from tleg.runs.spec import RunSpec, read_spec
from tleg.runs.state import RunState
from tleg_tui.run_list import RunRow

if TYPE_CHECKING:
    from tleg.runs.inputs import ChangedInputsError

# What the table of runs offers and the engine decides about.
RUN_ACTIONS: Final[tuple[Action, ...]] = ("stop", "resume", "remove")
DEFAULT_DEPTH: Final = 12  # Of an auxiliary model, where a recipe says nothing else.


def possible(row: RunRow, action: str) -> bool:
    """Whether an action makes sense for a run where it stands; one that is not about where it stands always does."""
    if action in RUN_ACTIONS:
        return allows(action, row.look.state, row.spec.launch.job_id)
    if action == "export":
        finished = row.state == "finished" and row.look.state.result is not None
        return finished or (row.state != "finished" and bool(row.look.snapshot.checkpoints))
    return True


def why_impossible(row: RunRow, action: str) -> str:
    """Why an action is not `possible` for a run, and what is; '' for one that is not about where it stands."""
    if action == "export":
        return "there is nothing to export yet: the run has no checkpoint"
    if action == "remove":
        return f"{row.id} {refusal('remove', row.look.state, row.spec.launch.job_id)}: stop it first (s), then delete it"
    return why_refused(action, row.look.state) if action in ("stop", "resume") else ""


def why_refused(action: str, state: RunState, *, stopping: bool = False) -> str:
    """Why a run in a state is not stopped, killed or resumed, and what is done instead.

    stopping  whether it was asked to stop, whatever its state says as yet
    """
    if action == "stop":
        asked = "it was asked to stop: it finishes its step and saves"
        return asked if stopping or state.state == "stopping" else f"the run is {state.state}: there is nothing to stop"
    if action == "kill":
        return f"the run is {state.state}: there is nothing to kill"
    if state.state == "finished":
        return "the run is finished: n begins another with its recipe"
    return "the run waits in SLURM's queue" if state.state == "queued" else f"the run is {state.state}: s stops it"


def export_source(row: RunRow) -> tuple[str, int | None, int | None]:
    """What the export of a run begins with: path, depth and classes, which a folder has of its own.

    Of a run that is not finished the path is its folder: what is in its last checkpoint is exported. Raises InputError when
    the result cannot be used.
    """
    if row.state != "finished" or row.look.state.result is None:
        return str(row.folder.path), unfinished_depth(row.spec), None
    result = Path(row.look.state.result)
    if not result.exists():
        raise InputError(f"the result of {row.id} is no longer at {result}")
    if row.spec.kind != "learn":
        return str(result), None, None
    from tleg.learngene.container import read_file

    header = read_file(result).header
    return str(result), header.auxiliary.depth, header.architecture.num_classes


def unfinished_depth(spec: RunSpec) -> int | None:
    """The depth that the export of a run that is not finished begins with; None for one that trains a model of one depth."""
    if spec.kind != "learn":
        return None
    given, sampled = spec.recipe.get("auxiliary-depth"), spec.recipe.get("sample-depths")
    if isinstance(given, int):
        return given
    try:
        return max(parse_depths(str(sampled))) if sampled else DEFAULT_DEPTH
    except InputError:
        return DEFAULT_DEPTH


def attach_command(folder: RunFolder) -> str:
    """Return the command that shows a run, from anywhere: by its id where runs usually are, else by its folder."""
    usual = folder.path.parent.absolute() == runs_folder().absolute()
    return shlex.join(["tleg", "attach", folder.id if usual else str(folder.path.absolute())])


def question_of(error: "ChangedInputsError") -> str:
    """The question whether to go on with what changed."""
    return (
        f"Since the run began, what it is trained on changed: {error.told}. "
        "Go on with that? It makes as many steps as were planned."
    )


def refusal_of(error: "ChangedInputsError") -> str:
    """The sentence where nobody can accept what changed."""
    return f"what the run is trained on changed since it began: {error.told}; put it back as it was, or start a new run"


def resume(folder: RunFolder, *, accept_changed: bool = False) -> str | None:
    """Let a run go on; return the line to type on each of several machines.

    For a thread: it reads and writes. Raises TlegError, as a sentence; ChangedInputsError when what the run is trained on
    changed, which may be accepted.
    """
    from tleg.data.counting import check_batch_of_run
    from tleg.launch import resume_training
    from tleg.runs.launch import node_command

    check_batch_of_run(folder)
    if resume_training(folder, accept_changed=accept_changed) is not None:
        return None
    spec = read_spec(folder)
    return node_command(folder, spec) if spec.launch.nodes > 1 else None
