"""`tleg stop`: save a checkpoint and end."""

import time
from contextlib import suppress
from dataclasses import dataclass

from tleg.cli.main import app
from tleg.cli.options import takes_options
from tleg.cli.output import say, write, write_json
from tleg.cli.run_options import JsonOption, RunArgument, RunsDirOption, runs_folder_of
from tleg.recipes.fields import option


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """How long a run may take to end."""

    kill_after: float | None = option(
        None, help="Kill it when it has not ended after so many seconds.", metavar="SECONDS", least=0, most=10_000_000
    )


@app.command()
@takes_options
def stop(
    run: RunArgument,
    options: StopOptions,
    runs_dir: RunsDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a run to finish its step, save a checkpoint and end; wait until it did. `tleg resume` goes on."""
    from tleg.errors import FileFormatError, InputError
    from tleg.runs.control import kill_run
    from tleg.runs.follower import ENDED
    from tleg.runs.listing import resolve_run
    from tleg.runs.slurm import stop as request
    from tleg.runs.state import REMOVED, observe

    folder = resolve_run(run, runs_folder_of(runs_dir))
    state = observe(folder)
    if state.state in ENDED:
        with suppress(FileFormatError):  # What says whether there is a job may be damaged.
            request(folder)  # SLURM may have put its job back into the queue.
        say(f"run {folder.id} is {state.state} already")
    else:
        request(folder)
        began = time.monotonic()
        say("stopping: it finishes its step and saves. Ctrl-C leaves it to that")
        while (state := observe(folder)).state not in ENDED:
            if options.kill_after is not None and time.monotonic() - began >= options.kill_after:
                say(f"it has not ended after {options.kill_after:g} s; killing it")
                with suppress(InputError):  # It has ended meanwhile.
                    kill_run(folder)
            elif state.state == "queued":
                say(f"run {folder.id} waits for its start; it ends as soon as it begins")
                break
            time.sleep(0.1)
    if not folder.exists:
        say(f"run {folder.id}: {REMOVED}; its trainer ends by itself")
    if as_json:
        write_json({"run": folder.id, "state": state.state, "step": state.step, "message": state.message})
    else:
        write(f"{folder.id}  {state.state}" + ("" if state.step is None else f" after step {state.step}"))
