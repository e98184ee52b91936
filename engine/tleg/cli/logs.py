"""`tleg logs`: what a run's trainer printed."""

import time
from collections import deque
from dataclasses import dataclass

from tleg.cli.main import app
from tleg.cli.options import takes_options
from tleg.cli.output import printable, write
from tleg.cli.run_options import RunArgument, RunsDirOption, runs_folder_of
from tleg.errors import InputError
from tleg.recipes.fields import option


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """Which lines are printed."""

    follow: bool = option(False, help="Go on until the run ends.", letter="f")
    lines: int | None = option(None, help="The last so many lines alone.", letter="n", least=0, most=10**9)


@app.command()
@takes_options
def logs(
    run: RunArgument,
    options: LogsOptions,
    runs_dir: RunsDirOption = None,
) -> None:
    """Print what a run's trainer printed: warnings, and the traceback of a failure."""
    from tleg.runs.listing import resolve_run
    from tleg.runs.state import observe

    folder = resolve_run(run, runs_folder_of(runs_dir))
    path = folder.log_file
    if not path.exists() and not options.follow:
        raise InputError(f"run {folder.id} has printed nothing yet")
    while not path.exists():
        if observe(folder).terminal or not folder.path.is_dir():
            return
        time.sleep(0.2)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file if options.lines is None else deque(file, options.lines):
            _print(line)
        while options.follow:
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
