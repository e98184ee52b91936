"""From a recipe to a run on the command line: check, start, follow, or look with `--dry-run`; the result as data."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from tleg.cli.options import LaunchOptions, runs_folder_of
from tleg.data.counting import check_batch
from tleg.errors import ExitCode
from tleg.launch import check_output, make_training, submit_training, with_paths
from tleg.learngene.profile import format_depth
from tleg.recipes.io import format_recipe
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.launch import launch, node_command
from tleg.runs.run import RunFolder
from tleg.runs.slurm import sbatch_script
from tleg.runs.spec import read_spec
from tleg.runs.state import recall_state
from tleg.serialize import encode
from tleg.terminal import say, write, write_json
from tleg.text import format_bytes, format_count, printable

if TYPE_CHECKING:
    from tleg.training.teacher import TeacherReport


def report_result(folder: RunFolder, *, as_json: bool) -> None:
    """Print where a run's result is, and what it reached."""
    state = recall_state(folder)
    result = Path(state.result or folder.exports)
    output = _relative(result, read_spec(folder).output)
    reached = _learned(result) if read_spec(folder).kind == "learn" else _tuned(result)
    if as_json:
        write_json({"run": folder.id, "output": output, **reached})
        return
    if "top1" not in reached:
        write(output)
    elif isinstance(reached["top1"], dict):
        write(output)
        for depth, value in reached["top1"].items():
            write(f"depth {depth:>3}  top-1 {value:.2f} %")
        for depth, value in reached.get("cosine", {}).items():
            write(f"depth {depth:>3}  cosine {value:.3f}")
    else:
        write(f"{output}  top-1 {reached['top1']:.2f} %  loss {reached['loss']:.4f}  on {reached['images']} images")
    if "note" in reached:
        write(f"  {reached['note']}")


def _relative(result: Path, output: str | None) -> str:
    """As the user wrote it, where they did."""
    return output if output is not None and Path(output).absolute() == result else str(result)


def _learned(result: Path) -> dict[str, Any]:
    from tleg.learngene.container import read_header
    from tleg.learngene.feature_cosine import feature_cosine_in

    header = read_header(result)
    reached, features = header.reached, feature_cosine_in(header.learned)
    return {
        "top1": {} if reached is None else {format_depth(depth): top1 for depth, top1 in reached.by_depth.items()},
        **({} if features is None else {"cosine": dict(features.by_depth)}),
    }


def _tuned(result: Path) -> dict[str, Any]:
    from tleg.models.timm_folder import read_timm_folder

    record = json.loads((result / "training.json").read_text())
    reached = record.get("reached") or {}
    note = read_timm_folder(result).note
    return {
        **({} if note is None else {"note": note}),
        "data": record.get("data"),
        **{key: reached[key] for key in ("top1", "top5", "loss", "images") if key in reached},
    }


# Classes that are named, and how many stand in a line.
_CLASSES_NAMED: Final = 20
_LINE: Final = 100


def teacher_words(teacher: "TeacherReport", chance: float) -> str:
    """Say what was seen of a teacher: its accuracy, or the features that it teaches."""
    if teacher.accuracy is None:
        return f"features of {teacher.features} values, looked at on {teacher.images} images"
    return f"right on {teacher.accuracy:.1f} % of {teacher.images} images; guessing gives {chance:.1f} %"


def class_lines(counts: Mapping[str, tuple[int, int]], chance: float) -> Iterator[str]:
    """Yield what a dry run says of the classes: how many, and each with its training and validation images."""
    if not counts:
        yield "classes     none: the images have no labels"
        return
    yield f"classes     {len(counts)}; guessing gives {chance:.1f} %; training + validation images of each:"
    line = ""
    words = [f"{printable(name)} {train} + {held_out}" for name, (train, held_out) in counts.items()]
    named = words[:_CLASSES_NAMED]
    if len(words) > len(named):
        fewest, most = (choose(train for train, _ in counts.values()) for choose in (min, max))
        named.append(f"and {len(words) - len(named)} more; {fewest} to {most} training images each")
    for place, word in enumerate(named):
        word += "," if place + 1 < len(named) else ""
        if line and len(line) + len(word) >= _LINE:
            yield f"            {line}"
            line = ""
        line = f"{line} {word}" if line else word
    yield f"            {line}"


def show_dry_run(recipe: TrainingRecipe, runs_dir: Path, *, as_json: bool) -> None:
    """Check everything that can be checked before training, and show it. Exits with 1 when something will not fit.

    Raises what preparing the training raises.
    """
    from tleg.training.dry_run import examine

    found = examine(recipe, runs_dir)
    if as_json:
        write_json(encode(found))
    else:
        memory = found.memory
        write(f"data        {printable(found.data)}: {found.training} training and {found.validation} validation images")
        for line in class_lines(found.class_counts, found.chance):
            write(line)
        write(f"model       {found.model}, {format_count(found.parameters)} parameters at depth {found.depth or '-'}")
        if found.basis is not None:
            write(f"basis       {found.basis}")
        if found.depths is not None:
            write(f"depths      {found.depths}")
        if found.teacher is not None:
            write(f"teacher     {found.teacher.name}, {teacher_words(found.teacher, found.chance)}")
        write(f"device      {found.device}, {found.processes} process{'es' if found.processes > 1 else ''}")
        write(f"threads     {found.threads} for each process ({found.threads_reason})")
        write(f"steps       {found.steps}, {found.steps // found.epochs} an epoch; peak learning rate {found.peak_rate:.3g}")
        write(
            f"memory      about {format_bytes(memory.total)} a device, of {format_bytes(found.memory_available)} available"
        )
        write(f"disk        about {format_bytes(found.disk_needed)}, of {format_bytes(found.disk_free)} free in {runs_dir}")
    for note in found.notes:
        say(f"note: {printable(note)}")
    for problem in found.problems:
        say(f"tleg: {problem}")
    if found.problems:
        raise typer.Exit(int(ExitCode.FAILED))


def start(recipe: TrainingRecipe, wishes: LaunchOptions) -> None:
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
        recipe, runs_folder_of(wishes.runs_dir), output=wishes.output, overwrite=wishes.force, slurm=wishes.job
    )
    if wishes.slurm:
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

    code = follow(folder)
    if code != ExitCode.DONE:
        raise typer.Exit(int(code))
    if recall_state(folder).state == "finished":
        report_result(folder, as_json=as_json)
    elif as_json:
        state = recall_state(folder)
        write_json({"run": folder.id, "state": state.state, "step": state.step})


def _submit(folder: RunFolder, wishes: LaunchOptions) -> None:
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


def _tell(folder: RunFolder, wishes: LaunchOptions, state: str, **more: Any) -> None:
    if wishes.as_json:
        write_json({"run": folder.id, "path": str(folder.path), "state": state, **more})
    else:
        write(folder.id)


def _dry_run(recipe: TrainingRecipe, wishes: LaunchOptions) -> None:

    runs_dir = runs_folder_of(wishes.runs_dir)
    show_dry_run(with_paths(recipe, runs_dir), runs_dir, as_json=wishes.as_json)
