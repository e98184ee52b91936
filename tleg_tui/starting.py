"""Starting a training from the form, as `tleg learn` and `tleg finetune` start theirs. For a thread: it reads and writes."""

from dataclasses import dataclass
from pathlib import Path

from tleg.data.counting import check_batch, check_batch_of_run
from tleg.launching import make_training, resume_training, submit_training
from tleg.runs.launch import launch, node_command
from tleg.runs.layout import RunFolder
from tleg.runs.spec import read_spec
from tleg_tui.recipe_form import Reading


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was made. `job` is its number in SLURM's queue; `line` is to be typed on each of several machines."""

    folder: RunFolder
    job: str | None = None
    line: str | None = None


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


def resume(folder: RunFolder) -> str | None:
    """Let a run go on; return the line to type on each of several machines. Raises TlegError, as a sentence."""
    check_batch_of_run(folder)
    if resume_training(folder) is not None:
        return None
    spec = read_spec(folder)
    return node_command(folder, spec) if spec.launch.nodes > 1 else None
