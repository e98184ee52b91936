"""What `--dry-run` shows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import typer

from tleg.cli.output import format_bytes, format_count, printable, say, write, write_json
from tleg.exit_codes import ExitCode
from tleg.recipes.kinds import TrainingRecipe
from tleg.schema import encode

# Classes that are named, and how many stand in a line.
_CLASSES_NAMED: Final = 20
_LINE: Final = 100


def class_lines(counts: Mapping[str, tuple[int, int]], chance: float) -> Iterator[str]:
    """Yield what a dry run says of the classes: how many, and each with its training and validation images."""
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
        if found.teacher is not None:
            accuracy = f"{found.teacher.accuracy:.1f} % of {found.teacher.images} images"
            write(f"teacher     {found.teacher.name}, right on {accuracy}; guessing gives {found.chance:.1f} %")
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
