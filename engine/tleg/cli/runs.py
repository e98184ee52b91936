"""Looking at runs: `tleg runs`, `tleg attach`, `tleg logs`, `tleg track`."""

import json
import os
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, RunArgument, RunsDirOption, runs_folder_of, takes_options
from tleg.errors import InputError
from tleg.recipes.fields import option
from tleg.runs.text import format_progress
from tleg.runs.trackers import TRACKERS, open_tracker, tracked
from tleg.terminal import console, is_interactive, say, write, write_json
from tleg.text import COLOURS, GLYPHS, MEAN, format_duration, join_words, printable


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
        say(f"no runs in {place}; `tleg train --help`, `tleg learn --help` and `tleg finetune --help` say how to start one")
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
        "best_cosine": None if best is None else best.cosine,
        "best_depths": []
        if best is None
        else [score.depth for score in best.scores if (score.top1, score.cosine) != (None, None)],
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
        if row["best_cosine"] is not None:
            best = f"cosine {mean}{row['best_cosine']:.3f}"
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
        raise InputError(f"run {folder.id} has printed nothing yet", field="run", code="not-found")
    while not path.exists():
        if observe(folder).terminal or not folder.path.is_dir():
            return
        time.sleep(0.2)
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file if options.lines is None else deque(file, options.lines):
            _print(line)
        while options.follow:
            ended = observe(folder).ended
            for line in file:
                _print(line)
            if ended or not path.exists():
                return
            if path.stat().st_size < file.tell():
                file.seek(0)
            time.sleep(0.2)


def _print(line: str) -> None:
    write(printable(line.rstrip("\n")))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackOptions:
    """Where the curves go."""

    to: str = option(help=f"{join_words(list(TRACKERS), 'or')}.", metavar="NAME")
    project: str = option(
        "tleg", help=f"Project, for {join_words([each.name for each in TRACKERS.values() if each.projects])}."
    )


@app.command()
@takes_options
def track(
    run: RunArgument,
    options: TrackOptions,
    runs_dir: RunsDirOption = None,
) -> None:
    """Send a run's curves to another program, from where it was, until the run ends; during the run or after it."""
    from tleg.runs.events import EventReader
    from tleg.runs.listing import resolve_run
    from tleg.runs.state import REMOVED, observe

    folder = resolve_run(run, runs_folder_of(runs_dir))
    place = folder.tracked_file(options.to)
    sent = -1
    with suppress(OSError, ValueError, KeyError, TypeError):
        sent = int(json.loads(place.read_text())["seq"])
    tracker = open_tracker(options.to, folder, options.project)
    reader, count = EventReader(folder), 0
    try:
        while True:
            if not folder.exists:
                say(f"run {folder.id}: {REMOVED}")
                break
            ended = observe(folder).ended
            events = [event for event in reader.read() if event.seq > sent]
            for step, values in tracked(events):
                tracker.scalars(step, values)
                count += 1
            if events:
                sent = events[-1].seq
                place.write_text(json.dumps({"seq": sent}))
            if ended:
                break
            time.sleep(1.0)
    finally:
        tracker.close()
    say(f"sent {count} reports of run {folder.id} to {options.to}")


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
    from tleg.cli.launch import follow_to_end
    from tleg.runs.listing import resolve_run

    place = runs_folder_of(runs_dir)
    folder = resolve_run(run, place)
    if plain or as_json or not all(map(is_interactive, (sys.stdin, sys.stdout, sys.stderr))):
        follow_to_end(folder, as_json=as_json)
        return
    # Another program takes over this process: the command line does not know the workbench, which knows the command line.
    words = [sys.executable, "-m", "tleg_tui", str(folder.path.absolute()), "--runs-dir", str(place.absolute())]
    os.execv(sys.executable, words)
