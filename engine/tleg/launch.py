"""From a recipe to a run that is ready to start, and from a run that ended to one that goes on. No torch.

The command line and the workbench start trainings through these functions, so both make the same runs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Literal

from tleg.errors import InputError, TlegError, concerning
from tleg.files import check_file, check_folder, undone_on_failure
from tleg.learngene.container import open_binary
from tleg.recipes.io import command_words, from_values, to_values
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import TrainingRecipe
from tleg.references import Kind, expect, resolve
from tleg.runs.control import remove_run
from tleg.runs.inputs import InputChange, RunInputs, check_unchanged, read_inputs, write_inputs
from tleg.runs.launch import check_startable, create_run, launch, make_ready
from tleg.runs.lock import is_locked
from tleg.runs.run import RunFolder, is_published
from tleg.runs.slurm import SlurmOptions, check_job, submit
from tleg.runs.spec import Launch, RunSpec, read_spec, write_spec
from tleg.runs.state import RunState, launcher_alive, observe
from tleg.threads import AUTO
from tleg.versions import versions

_ENDING_SECONDS: Final = 10.0
# What each option that names a model may name.
_MODELS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "learngene": ("learngene", "run"),
    "start": ("learngene", "folder", "weights", "run", "timm"),
    "checkpoint": ("folder", "weights", "run"),
    "teacher": ("folder", "weights", "run", "timm"),
}
LOOK_MODULE: Final = "tleg.data.fingerprint"


@concerning("output")
def check_output(recipe: TrainingRecipe, output: Path, *, overwrite: bool) -> None:
    """Refuse, before the work, an output that cannot be written: a file for a learngene, a folder for a descendant.

    Raises InputError.
    """
    check = check_file if isinstance(recipe, LearnRecipe) else check_folder
    check(output, overwrite=overwrite)


def make_training(
    recipe: TrainingRecipe,
    runs_dir: Path,
    *,
    output: str | None = None,
    overwrite: bool = False,
    slurm: SlurmOptions | None = None,
    later: Collection[str] = (),
) -> RunFolder:
    """Make the run of a recipe, in the state 'queued': `tleg.runs.launch.launch` or `tleg.runs.slurm.submit` starts it.

    later  options of the recipe that name a path where nothing is yet, and something will be when the run starts

    Runs that the recipe names by id become paths. Raises InputError, before anything is made, when the output cannot be
    written, and TlegError when the operating system refuses.
    """
    if output is not None:
        check_output(recipe, Path(output), overwrite=overwrite)
    _check_restarts(recipe.compute.max_restarts, slurm)
    recipe = with_paths(recipe, runs_dir, later)
    compute = recipe.compute
    name, ending = _name(recipe)
    return create_run(
        runs_dir,
        kind=recipe.kind,
        recipe=to_values(recipe),
        name=name,
        ending=ending,
        command=training_command(recipe, output),
        versions=versions("tleg", "torch", "timm"),
        output=output,
        overwrite=overwrite,
        launch=Launch(compute.devices, compute.nodes, compute.max_restarts, None if slurm is None else asdict(slurm)),
    )


def training_command(recipe: TrainingRecipe, output: str | None = None) -> tuple[str, ...]:
    """Return the words of the command that equals a recipe and its output."""
    words = command_words(recipe)
    return words if output is None else (*words, "--output", output)


def submit_training(folder: RunFolder, after: Sequence[str] = ()) -> str:
    """Put a run that was just made into SLURM's queue and return the number of its job; one that is not taken is removed.

    after  jobs that must end well before this one starts

    Raises what `tleg.runs.slurm.submit` raises.
    """
    try:
        return submit(folder, after)
    except TlegError:
        if not folder.job_file.exists():  # Else there is a job, which could not be noted.
            remove_run(folder)
        raise


def resume_training(
    folder: RunFolder,
    changes: Mapping[str, Any] | None = None,
    place: SlurmOptions | Literal["here"] | None = None,
    *,
    overwrite: bool = False,
    accept_changed: bool = False,
    after: Sequence[str] = (),
) -> str | None:
    """Start a run again from its last checkpoint; return the number of its batch job, or None where it runs by itself.

    A run on several machines gets ready alone: `tleg.runs.launch.node_command` is what a person starts on each.

    changes    option name -> value, of what may change on the way: epochs, device, devices, accumulate, workers, threads,
               max-restarts; noted in spec.json as an amendment
    place      a batch job with these options, or 'here', on this machine; None is where it ran before
    overwrite  replace what is at the output, also where this run did not put it there
    after      jobs that must end well before its batch job starts
    accept_changed  go on although images, or weights that the run names, are others than when it began

    Raises InputError for a run that is at work, that has nothing left to do, or whose output may not be replaced, for a
    change that makes no sense, and (ChangedInputsError) when what the run is trained on changed.
    """
    spec, state = read_spec(folder), _settled(folder)
    if state.at_work:
        raise InputError(
            f"run {folder.id} is {state.state}", code="wrong-state", advice=f"`tleg attach {folder.id}` shows it"
        )
    anew = (changes or {}).get("threads") == AUTO  # Not those that it began with.
    changes = {name: value for name, value in (changes or {}).items() if value != spec.recipe.get(name)}
    if state.state == "finished" and changes.get("epochs", 0) <= spec.recipe["epochs"]:
        raise InputError(
            f"run {folder.id} is finished after {spec.recipe['epochs']} epochs; give more --epochs",
            field="epochs",
            code="wrong-state",
        )
    if "epochs" in changes and state.step and state.steps and state.epochs:
        done = state.step * state.epochs / state.steps
        if changes["epochs"] < done:
            raise InputError(
                f"run {folder.id} has done {done:.1f} epochs already; give more --epochs than that",
                field="epochs",
                code="out-of-range",
            )
    slurm = spec.launch.slurm if place is None else None if place == "here" else asdict(place)
    _check_restarts(changes.get("max-restarts", spec.launch.max_restarts), slurm)
    amended = _amend(spec, changes, slurm, state.step)
    amended = replace(amended, overwrite=spec.overwrite or overwrite)
    _check_output_again(folder, amended)
    check_startable(folder, amended)
    if slurm is not None:
        check_job(folder, amended)
    accepted = check_inputs(folder, amended, accept=accept_changed)
    if accepted:
        note = {"step": state.step, "changes": {"accepted": "; ".join(accepted)}}
        amended = replace(amended, amendments=(*amended.amendments, note))
    with undone_on_failure(folder.spec_file, folder.inputs_file):
        inputs = read_inputs(folder) or (RunInputs() if anew else None)
        if inputs is not None and (accept_changed or anew):
            threads = None if anew else inputs.threads
            write_inputs(folder, replace(inputs, accepted=accept_changed, threads=threads))
        if amended != spec:
            write_spec(folder, amended)
        if slurm is not None:
            return submit(folder, after)
        if amended.launch.nodes > 1:
            make_ready(folder)
        else:
            launch(folder)
    return None


def check_inputs(folder: RunFolder, spec: RunSpec, *, accept: bool = False) -> tuple[str, ...]:
    """Compare what a run is trained on with what that was when it began; return what changed and is accepted, in words.

    Another process looks, in the run's working folder. A run of an earlier version has noted nothing, and one that is
    trained elsewhere may have its data there alone: the trainer looks as well. Raises ChangedInputsError when something
    changed that is not accepted, or that nobody can accept, and InputError when the data cannot be opened.
    """
    if read_inputs(folder) is None or not folder.has_checkpoint:
        return ()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", LOOK_MODULE, str(folder.path.absolute())],
        cwd=spec.folder if Path(spec.folder).is_dir() else None,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return ()  # It was killed, or a library is broken: the trainer will say so.
    if "problem" in answer:
        if spec.launch.slurm is not None or spec.launch.nodes > 1:
            return ()
        problem = f"run {folder.id} cannot go on: {answer['problem']}"
        raise InputError(problem, field=tuple(answer["field"]), code=answer["code"])
    changes = [InputChange(**each) for each in answer["changes"]]
    check_unchanged(folder, changes, accepted=accept)
    return tuple(each.text for each in changes)


def _amend(spec: RunSpec, changes: Mapping[str, Any], slurm: Mapping[str, Any] | None, step: int | None) -> RunSpec:
    """What a run is with other values for some options. Raises InputError for values that make no sense."""
    if not changes and slurm == spec.launch.slurm:
        return spec
    recipe = from_values(spec.kind, {**spec.recipe, **changes})
    compute = recipe.compute
    how = replace(
        spec.launch,
        devices=compute.devices,
        nodes=compute.nodes,
        max_restarts=compute.max_restarts,
        slurm=slurm,
    )
    amendments = (*spec.amendments, {"step": step, "changes": dict(changes)})
    return replace(spec, recipe=to_values(recipe), launch=how, amendments=amendments)


def _check_restarts(restarts: int, slurm: object) -> None:
    """SLURM starts the processes, and torchrun, which would start them again, is not there."""
    if slurm is not None and restarts:
        raise InputError(
            "--max-restarts is torchrun's, and SLURM starts a job without it; give --max-restarts 0 with --slurm",
            field=("max-restarts", "slurm"),
            code="conflict",
        )


@concerning("output")
def _check_output_again(folder: RunFolder, spec: RunSpec) -> None:
    """Refuse, before the work, an output that somebody else put there while the run was away."""
    work = Path(spec.folder)
    if spec.output is None or not work.is_dir():  # A folder that is gone is told of when the run starts.
        return
    output = work / spec.output
    check = check_file if spec.kind == "learn" else check_folder
    check(output, overwrite=spec.overwrite or is_published(folder, output))


def _settled(folder: RunFolder) -> RunState:
    """Where a run stands, once the trainer that said its last word has ended as well: what comes now would meet it."""
    end = time.monotonic() + _ENDING_SECONDS
    while (state := observe(folder)).terminal and (is_locked(folder) or launcher_alive(state)) and time.monotonic() < end:
        time.sleep(0.05)
    return state


def with_paths(recipe: TrainingRecipe, runs_dir: Path, later: Collection[str] = ()) -> TrainingRecipe:
    """Look at the models that the recipe names; runs among them become paths: an id is one in one folder of runs alone.

    later  options whose path the trainer alone looks at

    Raises InputError for a name that means nothing, several things, or something else than is needed there. What is in a
    file is looked at by the trainer, and so is whether timm knows a name.
    """
    changes: dict[str, Any] = {}
    for name, kinds in _MODELS.items():
        text = getattr(recipe, name, None)
        if text is None or name in later:
            continue
        with concerning(name):
            reference = expect(resolve(text, runs_dir, download="timm" in kinds), *kinds)
            if reference.kind == "weights":
                open_binary(reference.place).close()
        if reference.run is not None and Path(text).name == text and not Path(text).exists():
            changes[name] = str(reference.run.path.absolute())
    return replace(recipe, **changes)


def _name(recipe: TrainingRecipe) -> tuple[str, str]:
    """What a person would call it: the model, and then what tells apart runs of one model, the depth where there is one."""
    if isinstance(recipe, LearnRecipe):
        return recipe.architecture, ""
    if recipe.learngene is not None:
        path = Path(recipe.learngene)
        return "" if path.is_dir() else path.stem, f"{recipe.init or ''}-depth{recipe.depth}"
    return recipe.model or Path((recipe.checkpoint or "").partition(":")[0]).stem, ""
