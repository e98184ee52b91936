"""`tleg rm`: remove runs."""

import sys
from typing import Annotated

import typer

from tleg.cli.main import app
from tleg.cli.output import is_interactive, write
from tleg.cli.run_options import RunsDirOption, runs_folder_of
from tleg.errors import InputError


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
            raise InputError("removing a run cannot be undone; give --yes")
        names = ", ".join(folder.id for folder in folders)
        print(f"remove {names} with all checkpoints? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise InputError("nothing was removed")
    for folder in folders:
        remove_run(folder)
        write(folder.id)
