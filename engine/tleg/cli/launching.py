"""From a recipe to a run: check, make its folder, start its trainer, follow it."""

from pathlib import Path
from typing import Any

from tleg.cli.launch_options import Wishes
from tleg.cli.output import say, write, write_json
from tleg.cli.run_options import runs_folder_of
from tleg.data.counting import check_batch
from tleg.exit_codes import ExitCode
from tleg.launching import check_output, make_training, submit_training, with_paths
from tleg.recipes.kinds import TrainingRecipe
from tleg.recipes.toml_file import format_recipe
from tleg.runs.launch import launch, node_command
from tleg.runs.layout import RunFolder
from tleg.runs.slurm import sbatch_script
from tleg.runs.spec import read_spec
from tleg.runs.state import recall_state


def start(recipe: TrainingRecipe, wishes: Wishes) -> None:
    """Start a training as a run and, unless it is detached, follow it to its end. Exits with its exit code.

    Raises InputError before anything is made when the output cannot be written.
    """
    if wishes.print_recipe:
        write(format_recipe(recipe).rstrip("\n"))
        return
    check_batch(recipe)
    if wishes.output is not None:
        check_output(recipe, Path(wishes.output), overwrite=wishes.force)
    if wishes.dry_run:
        _dry_run(recipe, wishes)
        return
    folder = make_training(
        recipe, runs_folder_of(wishes.runs_dir), output=wishes.output, overwrite=wishes.force, slurm=wishes.slurm
    )
    if wishes.slurm is not None:
        _submit(folder, wishes)
        return
    if recipe.compute.nodes > 1:
        say(f"on each machine, run: {node_command(folder, read_spec(folder))}")
        _tell(folder, wishes, "queued")
        return
    launch(folder)
    if wishes.detach:
        say(f"training goes on by itself; `tleg attach {folder.id}` shows it, `tleg stop {folder.id}` ends it")
        _tell(folder, wishes, "starting")
        return
    follow_to_end(folder, as_json=wishes.as_json)


def follow_to_end(folder: RunFolder, *, as_json: bool) -> None:
    """Follow a run in the foreground, report its result, and exit with its exit code."""
    import typer

    from tleg.cli.follow import follow
    from tleg.cli.run_report import report_result

    code = follow(folder)
    if code != ExitCode.DONE:
        raise typer.Exit(int(code))
    if recall_state(folder).state == "finished":
        report_result(folder, as_json=as_json)
    elif as_json:
        state = recall_state(folder)
        write_json({"run": folder.id, "state": state.state, "step": state.step})


def _submit(folder: RunFolder, wishes: Wishes) -> None:
    if wishes.print_only:
        from tleg.runs.control import remove_run

        try:
            script = sbatch_script(folder, read_spec(folder))
        finally:
            remove_run(folder)
        write(script.rstrip("\n"))
        return
    job = submit_training(folder)
    say(f"submitted as job {job}; `tleg attach {folder.id}` shows it, `tleg stop {folder.id}` ends it")
    _tell(folder, wishes, "queued", job=job)


def _tell(folder: RunFolder, wishes: Wishes, state: str, **more: Any) -> None:
    if wishes.as_json:
        write_json({"run": folder.id, "path": str(folder.path), "state": state, **more})
    else:
        write(folder.id)


def _dry_run(recipe: TrainingRecipe, wishes: Wishes) -> None:
    from tleg.cli.dry_run import show_dry_run

    runs_dir = runs_folder_of(wishes.runs_dir)
    show_dry_run(with_paths(recipe, runs_dir), runs_dir, as_json=wishes.as_json)
