"""`tleg attach`: watch a run, from any terminal."""

import os
import sys
from typing import Annotated

import typer

from tleg.cli.main import app
from tleg.cli.output import is_interactive
from tleg.cli.run_options import JsonOption, RunArgument, RunsDirOption, runs_folder_of


@app.command()
def attach(
    run: RunArgument,
    runs_dir: RunsDirOption = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines that follow the run to its end, instead of the workbench.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch a run: on a terminal in the workbench, else as lines until it ends, with its result.

    Leaving does not end the run; any number of people may watch.
    """
    from tleg.cli.launching import follow_to_end
    from tleg.runs.listing import resolve_run

    place = runs_folder_of(runs_dir)
    folder = resolve_run(run, place)
    if plain or as_json or not all(map(is_interactive, (sys.stdin, sys.stdout, sys.stderr))):
        follow_to_end(folder, as_json=as_json)
        return
    # Another program takes over this process: the command line does not know the workbench, which knows the command line.
    words = [sys.executable, "-m", "tleg_tui", str(folder.path.absolute()), "--runs-dir", str(place.absolute())]
    os.execv(sys.executable, words)
