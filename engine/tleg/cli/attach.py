"""`tleg attach`: watch a run, from any terminal."""

from tleg.cli.main import app
from tleg.cli.run_options import JsonOption, RunArgument, RunsDirOption, runs_folder_of


@app.command()
def attach(run: RunArgument, runs_dir: RunsDirOption = None, as_json: JsonOption = False) -> None:
    """Watch a run until it ends, and report its result. Leaving does not end it; any number of people may watch."""
    from tleg.cli.launching import follow_to_end
    from tleg.runs.listing import resolve_run

    follow_to_end(resolve_run(run, runs_folder_of(runs_dir)), as_json=as_json)
