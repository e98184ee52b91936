"""What is done to a run: `tleg stop`, `tleg resume`, `tleg rm`."""

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import (
    BatchOptions,
    JsonOption,
    LaunchOptions,
    RunArgument,
    RunsDirOption,
    runs_folder_of,
    takes_options,
)
from tleg.errors import InputError
from tleg.recipes.fields import option, options_of, same_option
from tleg.recipes.training import Compute, Recipe
from tleg.terminal import is_interactive, say, write, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """How long a run may take to end."""

    kill_after: float | None = option(
        None, help="Kill it when it has not ended after so many seconds.", metavar="SECONDS", least=0, most=10_000_000
    )


@app.command()
@takes_options
def stop(
    run: RunArgument,
    options: StopOptions,
    runs_dir: RunsDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a run to finish its step, save a checkpoint and end; wait until it did. `tleg resume` goes on."""
    from tleg.errors import FileFormatError, InputError
    from tleg.runs.control import kill_run
    from tleg.runs.listing import resolve_run
    from tleg.runs.slurm import stop as request
    from tleg.runs.state import REMOVED, observe

    folder = resolve_run(run, runs_folder_of(runs_dir))
    state = observe(folder)
    if state.ended:
        with suppress(FileFormatError):  # What says whether there is a job may be damaged.
            request(folder)  # SLURM may have put its job back into the queue.
        say(f"run {folder.id} is {state.state} already")
    else:
        request(folder)
        began = time.monotonic()
        say("stopping: it finishes its step and saves. Ctrl-C leaves it to that")
        while not (state := observe(folder)).ended:
            if options.kill_after is not None and time.monotonic() - began >= options.kill_after:
                say(f"it has not ended after {options.kill_after:g} s; killing it")
                with suppress(InputError):  # It has ended meanwhile.
                    kill_run(folder)
            elif state.state == "queued":
                say(f"run {folder.id} waits for its start; it ends as soon as it begins")
                break
            time.sleep(0.1)
    if not folder.exists:
        say(f"run {folder.id}: {REMOVED}; its trainer ends by itself")
    if as_json:
        write_json({"run": folder.id, "state": state.state, "step": state.step, "message": state.message})
    else:
        write(f"{folder.id}  {state.state}" + ("" if state.step is None else f" after step {state.step}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions:
    """What may change on the way, in the ranges of a recipe."""

    epochs: int | None = same_option(Recipe, "epochs", None, help="Train for so many epochs in all.")
    devices: int | None = same_option(
        Compute, "devices", None, help="Devices on each machine. The result is nearly the same."
    )
    accumulate: int | None = same_option(Recipe, "accumulate", None, help="Parts of a step. The result is nearly the same.")
    workers: int | None = same_option(Recipe, "workers", None, help="Processes that prepare images. The result is the same.")
    threads: str | None = same_option(
        Compute, "threads", None, help="Threads of each process, or auto. Default: as before, for the same result."
    )
    max_restarts: int | None = same_option(Compute, "max-restarts", None, help="Starts after a process died.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeLaunch:
    """How a run goes on."""

    slurm: bool | None = option(None, help="Go on as a batch job, or on this machine. Default: as before.")
    batch: BatchOptions = field(default_factory=BatchOptions)
    accept_changed_data: bool = option(
        False, help="Go on although images came or went, or weights are others. The steps stay as planned."
    )
    force: bool = same_option(LaunchOptions, "force", False, help="Replace an existing output.")
    detach: bool = same_option(LaunchOptions, "detach", False, help="Start, print the run's id and return.")


@app.command()
@takes_options
def resume(
    run: RunArgument,
    options: ResumeOptions,
    how: ResumeLaunch,
    runs_dir: RunsDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, killed or failed, from its last checkpoint, as if it had never been interrupted.

    What is trained does not change on the way: for another model, teacher or learning rate, start a new run with
    --checkpoint RUN. With more --epochs the schedule is that of the longer training from here on. Data and models must be
    those that it began with; --accept-changed-data goes on where only images or weights changed.
    """
    from tleg.cli.launch import follow_to_end
    from tleg.data.counting import check_batch_of_run
    from tleg.launch import resume_training
    from tleg.runs.launch import node_command
    from tleg.runs.listing import resolve_run
    from tleg.runs.spec import read_spec

    folder = resolve_run(run, runs_folder_of(runs_dir))
    given = {each.name: getattr(options, each.path[0]) for each in options_of(ResumeOptions)}
    changes = {name: value for name, value in given.items() if value is not None}
    check_batch_of_run(folder, changes)
    batch_job = how.batch.job(how.slurm)
    job = resume_training(
        folder,
        changes,
        "here" if how.slurm is False else batch_job,
        overwrite=how.force,
        accept_changed=how.accept_changed_data,
    )
    if job is not None:
        say(f"submitted as job {job}")
        _tell(folder.id, "queued", as_json)
        return
    spec = read_spec(folder)
    if spec.launch.nodes > 1:
        say(f"on each machine, run: {node_command(folder, spec)}")
        _tell(folder.id, "queued", as_json)
        return
    if how.detach:
        _tell(folder.id, "starting", as_json)
        return
    follow_to_end(folder, as_json=as_json)


def _tell(run: str, state: str, as_json: bool) -> None:
    if as_json:
        write_json({"run": run, "state": state})
    else:
        write(run)


@app.command()
def rm(
    runs: Annotated[list[str], typer.Argument(help="Ids, beginnings of one, 'last', or paths.", metavar="RUN…")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Remove runs with their checkpoints and results. Runs that are at work are refused; what --output wrote stays."""
    from tleg.runs.control import check_removable, remove_run
    from tleg.runs.listing import resolve_run

    place = runs_folder_of(runs_dir)
    folders = list(dict.fromkeys(resolve_run(text, place) for text in runs))
    for folder in folders:  # All of them before the first is gone.
        check_removable(folder)
    if not yes:
        if not (is_interactive(sys.stderr) and sys.stdin.isatty()):
            raise InputError("removing a run cannot be undone; give --yes", field="yes", code="missing")
        names = ", ".join(folder.id for folder in folders)
        print(f"remove {names} with all checkpoints? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise InputError("nothing was removed", field="yes", code="interrupted")
    for folder in folders:
        remove_run(folder)
        write(folder.id)
