"""`tleg family`: for each device of a file its model, in one folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, takes_options
from tleg.errors import ExitCode, InputError
from tleg.recipes.fields import option
from tleg.serialize import encode
from tleg.terminal import counting_progress, say, write, write_json
from tleg.text import format_bytes, format_epochs, format_image_size, format_latency, printable

if TYPE_CHECKING:
    from tleg.family.file import Family
    from tleg.family.make import Watching
    from tleg.family.results import DeviceSlice, FamilyResults
    from tleg.runs.history import RunSnapshot
    from tleg.runs.state import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyOptions:
    """What stands above the file, or instead of it."""

    output: str = option("family", help="Folder of the family.", metavar="FOLDER")
    data: str | None = option(None, help="The images, as for tleg learn; above the file's.", metavar="DATA")
    license: str | None = option(None, help="The licence of what is made, such as apache-2.0; above the file's.")
    learngene: str | None = option(
        None, help="A learngene; above the file's. Without any, one is learned.", metavar="NAME|FILE"
    )
    ancestor: str | None = option(None, help="A model that teaches; above the file's.", metavar="NAME|PATH")


@app.command()
@takes_options
def family(
    file: Annotated[
        str | None,
        typer.Argument(help="The devices (TOML). Without it: small, medium and large.", metavar="[DEVICES.toml]"),
    ] = None,
    *,
    options: FamilyOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all and say what would be made; make nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train anew what the file now says otherwise.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a model for each device: pick its depth, train what must be, export, verify, measure.

    docs/family.md describes the file. Each training is a run in FOLDER/runs. Ctrl-C saves and stops the one at work; the
    same command goes on where it stood, and makes nothing twice. FOLDER has a folder for each device, slices.json for
    programs, report.md, report.html, and README.md, a model card. Exits with 1 when a device failed or is less accurate
    than wanted.
    """
    from tleg.family.file import read_family

    given = {
        name: value for name in ("data", "license", "learngene", "ancestor") if (value := getattr(options, name)) is not None
    }
    path = None if file is None else Path(file)
    if dry_run:
        _show_plan(read_family(path, given), as_json)
        return
    if path is None and options.data is None:
        raise InputError("name a file of devices, or images with --data", field=("file", "data"), code="missing")
    from tleg.api import build_family

    with _watching() as watching:
        results = build_family(path, options.output, given=given, overwrite=force, watching=watching)
    if as_json:
        write_json(encode(results))
    else:
        for each in results.devices:
            write(printable(str(Path(options.output) / each.path)))
            write(f"  {_figures(each)}")
    _tell_end(results, Path(options.output))
    if not results.complete:
        raise typer.Exit(int(ExitCode.FAILED))


def _figures(device: "DeviceSlice") -> str:
    top1 = "no accuracy" if device.top1 is None else f"top-1 {device.top1:.2f} %"
    words = [f"depth {device.depth}", f"{format_image_size(device.image_size)} px", format_bytes(device.bytes), top1]
    words.append(f"{format_latency(device.latency)} here")
    words += [] if device.expected is None else [f"{format_latency(device.expected)} expected there"]
    return ", ".join(words)


def _tell_end(results: "FamilyResults", folder: Path) -> None:
    for name, reason in results.failed.items():
        say(printable(f"{name} failed: {reason}"))
    for each in results.devices:
        if each.missed:
            say(printable(f"{each.name}: {each.wanted:g} % were wanted"))
    say(printable(f"written: {folder / 'report.html'}, {folder / 'README.md'}, {folder / 'slices.json'}"))


def _show_plan(family: "Family", as_json: bool) -> None:
    """Write what would be made, and of a learngene that is there which depth each device gets. Raises what does not fit."""
    from tleg.family.plan import plan_family
    from tleg.learngene.profile import format_depth

    plan = plan_family(family)
    if as_json:
        write_json(plan.document())
        plan.require()
        return
    plan.require()
    if plan.ancestor is not None:
        write(f"train     an ancestor, {plan.ancestor} epochs")
    if plan.learned is not None:
        write(f"learn     a learngene of {plan.learned}")
    for each in plan.devices:
        device, chosen, depth = each.device, each.chosen, "once the learngene is there"
        if chosen is not None:
            top1 = "" if chosen.top1 is None else f", {chosen.top1:.2f} % without fine-tuning"
            trained = f", {format_epochs(device.epochs)} of fine-tuning" if device.epochs else ""
            doubt = "" if chosen.doubt is None else f"; {chosen.doubt}"
            depth = f"depth {format_depth(chosen.row.depth)}, {device.export} in {device.dtype}{top1}{trained}{doubt}"
        write(printable(f"{device.name}  {depth}"))
    if plan.measured is not None:
        say(printable(f"accuracy is that on {plan.measured}, as the learngene has it"))
    elif plan.learngene is not None:
        known = "" if plan.unused is None else f" (the learngene has it on {plan.unused} alone)"
        say(printable(f"accuracy on {family.data} is measured first{known}, and may choose other depths than these"))


@contextmanager
def _watching() -> "Iterator[Watching]":
    """Steps as lines, and a bar for images and for a run at work."""
    from tleg.family.make import Watching
    from tleg.runs.text import format_progress

    shown: dict[str, str] = {}

    def watch(name: str, snapshot: "RunSnapshot", state: "RunState") -> None:
        epochs = format_progress(state).partition("/")[0].partition(".")[0]
        if epochs and shown.get(name) != epochs:
            shown[name] = epochs
            say(printable(f"{name}: {format_progress(state)}"))

    with counting_progress("evaluating") as count:
        yield Watching(tell=lambda what, text: say(printable(f"{what}: {text}")), watch=watch, count=count)
