"""What `--dry-run` shows."""

from pathlib import Path

import typer

from tleg.cli.output import format_bytes, format_count, say, write, write_json
from tleg.exit_codes import ExitCode
from tleg.recipes.kinds import TrainingRecipe
from tleg.schema import encode


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
        write(f"data        {found.data}: {found.training} training and {found.validation} validation images")
        write(f"            {found.classes} classes")
        write(f"model       {found.model}, {format_count(found.parameters)} parameters at depth {found.depth or '-'}")
        if found.teacher is not None:
            accuracy = f"{found.teacher.accuracy:.1f} % of {found.teacher.images} images"
            write(f"teacher     {found.teacher.name}, right on {accuracy}; guessing gives {found.chance:.1f} %")
        write(f"device      {found.device}, {found.processes} process{'es' if found.processes > 1 else ''}")
        write(f"steps       {found.steps}, {found.steps // found.epochs} an epoch; peak learning rate {found.peak_rate:.3g}")
        write(
            f"memory      about {format_bytes(memory.total)} a device, of {format_bytes(found.memory_available)} available"
        )
        write(f"disk        about {format_bytes(found.disk_needed)}, of {format_bytes(found.disk_free)} free in {runs_dir}")
    for note in found.notes:
        say(f"note: {note}")
    for problem in found.problems:
        say(f"tleg: {problem}")
    if found.problems:
        raise typer.Exit(int(ExitCode.FAILED))
