"""Starting a training from the form, as `tleg learn` and `tleg finetune` start theirs. For a thread: it reads and writes."""

from dataclasses import dataclass
from pathlib import Path

from tleg.data.counting import check_batch, check_batch_of_run
from tleg.launch import make_training, resume_training, submit_training
from tleg.runs.inputs import ChangedInputsError
from tleg.runs.launch import launch, node_command
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg_tui.recipe_form import Reading


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was made. `job` is its number in SLURM's queue; `line` is to be typed on each of several machines."""

    folder: RunFolder
    job: str | None = None
    line: str | None = None


def question_of(error: ChangedInputsError) -> str:
    """The question whether to go on with what changed."""
    return (
        f"Since the run began, what it is trained on changed: {error.told}. "
        "Go on with that? It makes as many steps as were planned."
    )


def refusal_of(error: ChangedInputsError) -> str:
    """The sentence where nobody can accept what changed."""
    return f"what the run is trained on changed since it began: {error.told}; put it back as it was, or start a new run"


def start_training(reading: Reading, runs_dir: Path) -> Started:
    """Make the run of a form that is complete, and start it. Raises TlegError, as a sentence, when it cannot be."""
    assert reading.recipe is not None
    check_batch(reading.recipe)
    folder = make_training(reading.recipe, runs_dir, output=reading.output, overwrite=reading.overwrite, slurm=reading.slurm)
    if reading.slurm is not None:
        return Started(folder, job=submit_training(folder))
    if reading.recipe.compute.nodes > 1:
        return Started(folder, line=node_command(folder, read_spec(folder)))
    launch(folder)
    return Started(folder)


def resume(folder: RunFolder, *, accept_changed: bool = False) -> str | None:
    """Let a run go on; return the line to type on each of several machines.

    Raises TlegError, as a sentence; ChangedInputsError when what the run is trained on changed, which may be accepted.
    """
    check_batch_of_run(folder)
    if resume_training(folder, accept_changed=accept_changed) is not None:
        return None
    spec = read_spec(folder)
    return node_command(folder, spec) if spec.launch.nodes > 1 else None
