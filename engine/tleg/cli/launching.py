"""From a recipe to a run: check, make its folder, start its trainer, follow it."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tleg.cli.launch_options import Wishes
from tleg.cli.output import say, write, write_json
from tleg.cli.run_options import runs_folder_of
from tleg.errors import InputError
from tleg.exit_codes import ExitCode
from tleg.recipes.command_line import command_words
from tleg.recipes.document import to_values
from tleg.recipes.kinds import LearnRecipe, TrainingRecipe
from tleg.recipes.toml_file import format_recipe
from tleg.runs.folder import RunFolder, create_run
from tleg.runs.launch import launch, node_command
from tleg.runs.listing import resolve_run
from tleg.runs.slurm import sbatch_script, submit
from tleg.runs.spec import Launch, read_spec
from tleg.runs.state import recall_state


def start(recipe: TrainingRecipe, wishes: Wishes) -> None:
    """Start a training as a run and, unless it is detached, follow it to its end. Exits with its exit code.

    Raises InputError before anything is made when the output cannot be written.
    """
    if wishes.print_recipe:
        write(format_recipe(recipe).rstrip("\n"))
        return
    if wishes.output is not None:
        _check_output(recipe, Path(wishes.output), wishes.force)
    if wishes.dry_run:
        _dry_run(recipe, wishes)
        return
    folder = _make_run(_with_paths(recipe, wishes), wishes)
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


def _with_paths(recipe: TrainingRecipe, wishes: Wishes) -> TrainingRecipe:
    """Runs that the recipe names by id, as paths: an id means something in one folder of runs alone."""
    place = runs_folder_of(wishes.runs_dir)
    changes: dict[str, Any] = {}
    for name in ("learngene", "checkpoint", "teacher"):
        text = getattr(recipe, name, None)
        if text is None or ":" in text or Path(text).name != text or Path(text).exists():
            continue
        # What is no run may be known to timm or the catalogue, which the trainer looks up.
        with suppress(InputError):
            changes[name] = str(resolve_run(text, place).path.absolute())
    return replace(recipe, **changes)


def _check_output(recipe: TrainingRecipe, output: Path, force: bool) -> None:
    from tleg.atomic import check_file, check_folder

    check = check_file if isinstance(recipe, LearnRecipe) else check_folder
    check(output, overwrite=force)


def _make_run(recipe: TrainingRecipe, wishes: Wishes) -> RunFolder:
    from dataclasses import asdict

    from tleg.versions import versions

    compute = recipe.compute
    slurm = None if wishes.slurm is None else asdict(wishes.slurm)
    return create_run(
        runs_folder_of(wishes.runs_dir),
        kind=recipe.kind,
        recipe=to_values(recipe),
        name=_name(recipe),
        command=_command(recipe, wishes),
        versions=versions("tleg", "torch", "timm"),
        output=wishes.output,
        overwrite=wishes.force,
        launch=Launch(compute.devices, compute.nodes, compute.max_restarts, slurm),
    )


def _command(recipe: TrainingRecipe, wishes: Wishes) -> tuple[str, ...]:
    words = command_words(recipe)
    return words if wishes.output is None else (*words, "--output", wishes.output)


def _name(recipe: TrainingRecipe) -> str:
    """What a person would call it: the model, and the depth where there is one."""
    if isinstance(recipe, LearnRecipe):
        return recipe.architecture
    if recipe.learngene is not None:
        path = Path(recipe.learngene)
        source = "" if path.is_dir() else f"{path.stem}-"
        return f"{source}{recipe.init or ''}-depth{recipe.depth}"
    return recipe.model or Path((recipe.checkpoint or "").partition(":")[0]).stem


def _submit(folder: RunFolder, wishes: Wishes) -> None:
    if wishes.print_only:
        from tleg.runs.control import remove_run

        write(sbatch_script(folder, read_spec(folder)).rstrip("\n"))
        remove_run(folder)
        return
    job = submit(folder)
    say(f"submitted as job {job}; `tleg attach {folder.id}` shows it, `tleg stop {folder.id}` ends it")
    _tell(folder, wishes, "queued", job=job)


def _tell(folder: RunFolder, wishes: Wishes, state: str, **more: Any) -> None:
    if wishes.as_json:
        write_json({"run": folder.id, "path": str(folder.path), "state": state, **more})
    else:
        write(folder.id)


def _dry_run(recipe: TrainingRecipe, wishes: Wishes) -> None:
    from tleg.cli.dry_run import show_dry_run

    show_dry_run(recipe, runs_folder_of(wishes.runs_dir), as_json=wishes.as_json)
