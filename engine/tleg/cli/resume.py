"""`tleg resume`: go on from the last checkpoint."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from tleg.cli.main import app
from tleg.cli.output import say, write, write_json
from tleg.cli.run_options import JsonOption, RunArgument, RunsDirOption, runs_folder_of
from tleg.errors import InputError


@app.command()
def resume(
    run: RunArgument,
    epochs: Annotated[int | None, typer.Option(help="Train for so many epochs in all.")] = None,
    devices: Annotated[int | None, typer.Option(help="Devices on each machine. The result is the same.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Parts of a step. The result is the same.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare images. The result is the same.")] = None,
    max_restarts: Annotated[int | None, typer.Option(help="Starts after a process died.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start, print the run's id and return.")] = False,
    runs_dir: RunsDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run that was stopped, killed or failed, from its last checkpoint, as if it had never been interrupted.

    What is trained does not change on the way: for another model, teacher or learning rate, start a new run with
    --checkpoint RUN. With more --epochs the schedule is that of the longer training from here on.
    """
    from tleg.cli.launching import follow_to_end
    from tleg.recipes.document import from_values, to_values
    from tleg.runs.launch import launch
    from tleg.runs.listing import resolve_run
    from tleg.runs.slurm import submit
    from tleg.runs.spec import read_spec, write_spec
    from tleg.runs.state import observe

    folder = resolve_run(run, runs_folder_of(runs_dir))
    spec, state = read_spec(folder), observe(folder)
    if state.state in ("starting", "running", "stopping"):
        raise InputError(f"run {folder.id} is {state.state}; `tleg attach {folder.id}` shows it")
    given: dict[str, Any] = {
        "epochs": epochs,
        "devices": devices,
        "accumulate": accumulate,
        "workers": workers,
        "max-restarts": max_restarts,
    }
    changes = {name: value for name, value in given.items() if value is not None and value != spec.recipe.get(name)}
    if state.state == "finished" and changes.get("epochs", 0) <= spec.recipe["epochs"]:
        raise InputError(f"run {folder.id} is finished after {spec.recipe['epochs']} epochs; give more --epochs")
    if "epochs" in changes and state.step and state.steps and state.epochs:
        done = state.step * state.epochs / state.steps
        if changes["epochs"] < done:
            raise InputError(f"run {folder.id} has done {done:.1f} epochs already; give more --epochs than that")
    if changes:
        recipe = from_values(spec.kind, {**spec.recipe, **changes})
        compute = recipe.compute
        write_spec(
            folder,
            replace(
                spec,
                recipe=to_values(recipe),
                launch=replace(spec.launch, devices=compute.devices, nodes=compute.nodes, max_restarts=compute.max_restarts),
                amendments=(*spec.amendments, {"step": state.step, "changes": changes}),
            ),
        )
    if spec.launch.slurm is not None:
        job = submit(folder)
        say(f"submitted as job {job}")
        _tell(folder.id, "queued", as_json)
        return
    launch(folder)
    if detach:
        _tell(folder.id, "starting", as_json)
        return
    follow_to_end(folder, as_json=as_json)


def _tell(run: str, state: str, as_json: bool) -> None:
    if as_json:
        write_json({"run": run, "state": state})
    else:
        write(run)
