"""`tleg runs`: all runs, the newest first."""

import sys
import time
from typing import Any

from tleg.cli.main import app
from tleg.cli.output import console, printable, say, write_json
from tleg.cli.run_options import JsonOption, RunsDirOption, runs_folder_of
from tleg.cli.run_text import COLOURS, GLYPHS, MEAN, format_duration, format_progress


@app.command()
def runs(runs_dir: RunsDirOption = None, as_json: JsonOption = False) -> None:
    """List all runs, the newest first, with their state, progress and best accuracy."""
    from tleg.errors import InputError
    from tleg.runs.listing import list_runs
    from tleg.runs.state import REMOVED

    place = runs_folder_of(runs_dir)
    listing = list_runs(place)
    rows = []
    for folder in listing:
        try:
            rows.append(_describe(folder))
        except InputError:
            if folder.exists:
                raise
            say(f"left out {printable(str(folder.path))}: {REMOVED}")
    for skipped in listing.skipped:
        say(f"left out {printable(str(skipped.path))}: {printable(skipped.reason)}")
    if as_json:
        write_json(rows)
        return
    if not rows:
        say(f"no runs in {place}; `tleg learn --help` and `tleg finetune --help` say how to start one")
        return
    _write_table(rows)


def _describe(folder: Any) -> dict[str, Any]:
    from tleg.runs.follower import RunFollower
    from tleg.runs.spec import read_spec

    spec, look = read_spec(folder), RunFollower(folder).look()
    state, best = look.state, look.snapshot.best
    return {
        "id": folder.id,
        "kind": spec.kind,
        "state": state.state,
        "step": state.step,
        "steps": state.steps,
        "epochs": state.epochs,
        "progress": format_progress(state),
        "best_top1": None if best is None else best.top1,
        "best_depths": [] if best is None else [score.depth for score in best.scores if score.top1 is not None],
        "created": spec.created,
        "eta": state.eta if state.state == "running" else None,
        "message": state.message,
        "exit_code": state.exit_code,
        "result": state.result,
        "output": spec.output,
        "path": str(folder.path),
    }


def _write_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("run", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("epochs", overflow="fold")
    for title in ("best", "age"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        state = row["state"]
        mean = MEAN if len(row["best_depths"]) > 1 else ""
        best = "" if row["best_top1"] is None else f"{mean}{row['best_top1']:.2f} %"
        left = "" if row["eta"] is None else f", {format_duration(row['eta'])} to go"
        table.add_row(
            Text(printable(row["id"])),
            Text(f"{GLYPHS[state]} {state}", style=COLOURS.get(state, "")),
            Text(f"{row['progress'].removesuffix(' epochs')}{left}"),
            Text(best),
            Text(format_duration(time.time() - row["created"])),
        )
    console(sys.stdout).print(table)
    if any(len(row["best_depths"]) > 1 for row in rows):
        say(f"{MEAN} is the mean over the depths of a learngene; `tleg attach --plain RUN` shows each")
