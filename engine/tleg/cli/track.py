"""`tleg track`: show a run in TensorBoard, Weights & Biases or trackio."""

import json
import time
from contextlib import suppress
from typing import Annotated

import typer

from tleg.cli.main import app
from tleg.cli.output import say
from tleg.cli.run_options import RunArgument, RunsDirOption, runs_folder_of


@app.command()
def track(
    run: RunArgument,
    to: Annotated[str, typer.Option(help="tensorboard, wandb or trackio.", metavar="NAME")],
    project: Annotated[str, typer.Option(help="Project, for wandb and trackio.")] = "tleg",
    runs_dir: RunsDirOption = None,
) -> None:
    """Send a run's curves to another program, from where it was, until the run ends; during the run or after it."""
    from tleg.runs.listing import resolve_run
    from tleg.runs.reader import EventReader
    from tleg.runs.state import REMOVED, observe
    from tleg.runs.trackers import open_tracker, scalars_of

    folder = resolve_run(run, runs_folder_of(runs_dir))
    place = folder.path / f"tracked-{to}.json"
    sent = -1
    with suppress(OSError, ValueError, KeyError, TypeError):
        sent = int(json.loads(place.read_text())["seq"])
    tracker = open_tracker(to, folder, project)
    reader, count = EventReader(folder), 0
    try:
        while True:
            if not folder.exists:
                say(f"run {folder.id}: {REMOVED}")
                break
            ended = observe(folder).state in ("finished", "stopped", "failed", "lost")
            events = [event for event in reader.read() if event.seq > sent]
            for step, values in scalars_of(events):
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
    say(f"sent {count} reports of run {folder.id} to {to}")
