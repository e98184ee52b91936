"""`tleg resume`: go on from the last checkpoint."""

from dataclasses import dataclass
from typing import Annotated

import typer

from tleg.cli.launch_options import AccountOption, ForceOption, PartitionOption, SbatchOption, TimeOption, make_job
from tleg.cli.main import app
from tleg.cli.options import takes_options
from tleg.cli.output import say, write, write_json
from tleg.cli.run_options import JsonOption, RunArgument, RunsDirOption, runs_folder_of
from tleg.recipes.compute import Compute
from tleg.recipes.fields import options_of, same_option
from tleg.recipes.training import Recipe


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


@app.command()
@takes_options
def resume(
    run: RunArgument,
    options: ResumeOptions,
    slurm: Annotated[
        bool | None, typer.Option("--slurm/--no-slurm", help="Go on as a batch job, or on this machine. Default: as before.")
    ] = None,
    partition: PartitionOption = None,
    time_limit: TimeOption = None,
    account: AccountOption = None,
    sbatch: SbatchOption = None,
    accept_changed_data: Annotated[
        bool,
        typer.Option(
            "--accept-changed-data",
            help="Go on although images came or went, or weights are others. The steps stay as planned.",
        ),
    ] = False,
    force: ForceOption = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start, print the run's id and return.")] = False,
    runs_dir: RunsDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, killed or failed, from its last checkpoint, as if it had never been interrupted.

    What is trained does not change on the way: for another model, teacher or learning rate, start a new run with
    --checkpoint RUN. With more --epochs the schedule is that of the longer training from here on. Data and models must be
    those that it began with; --accept-changed-data goes on where only images or weights changed.
    """
    from tleg.cli.launching import follow_to_end
    from tleg.data.counting import check_batch_of_run
    from tleg.launching import resume_training
    from tleg.runs.launch import node_command
    from tleg.runs.listing import resolve_run
    from tleg.runs.spec import read_spec

    folder = resolve_run(run, runs_folder_of(runs_dir))
    given = {each.name: getattr(options, each.path[0]) for each in options_of(ResumeOptions)}
    changes = {name: value for name, value in given.items() if value is not None}
    check_batch_of_run(folder, changes)
    batch_job = make_job(slurm, partition, time_limit, account, sbatch)
    job = resume_training(
        folder,
        changes,
        "here" if slurm is False else batch_job,
        overwrite=force,
        accept_changed=accept_changed_data,
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
    if detach:
        _tell(folder.id, "starting", as_json)
        return
    follow_to_end(folder, as_json=as_json)


def _tell(run: str, state: str, as_json: bool) -> None:
    if as_json:
        write_json({"run": run, "state": state})
    else:
        write(run)
