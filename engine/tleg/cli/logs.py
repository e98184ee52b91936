"""`tleg logs`: what a run's trainer printed."""

import time
from collections import deque
from typing import Annotated

import typer

from tleg.cli.main import app
from tleg.cli.output import printable, write
from tleg.cli.run_options import RunArgument, RunsDirOption, runs_folder_of
from tleg.errors import InputError


@app.command()
def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", help="The last so many lines alone.", min=0)] = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Print what a run's trainer printed: warnings, and the traceback of a failure."""
    from tleg.runs.listing import resolve_run
    from tleg.runs.state import observe

    folder = resolve_run(run, runs_folder_of(runs_dir))
    path = folder.log_file
    if not path.exists() and not follow:
        raise InputError(f"run {folder.id} has printed nothing yet")
    while not path.exists():
        if observe(folder).terminal or not folder.path.is_dir():
            return
        time.sleep(0.2)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file if lines is None else deque(file, lines):
            _print(line)
        while follow:
            ended = observe(folder).state in ("finished", "stopped", "failed", "lost")
            for line in file:
                _print(line)
            if ended or not path.exists():
                return
            if path.stat().st_size < file.tell():
                file.seek(0)
            time.sleep(0.2)


def _print(line: str) -> None:
    write(printable(line.rstrip("\n")))
