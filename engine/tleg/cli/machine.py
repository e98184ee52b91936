"""`tleg doctor`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.app import app
from tleg.errors import ExitCode
from tleg.terminal import say, write, write_json
from tleg.text import format_bytes, printable

if TYPE_CHECKING:
    from tleg.doctor import Report


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what tleg finds on this machine, and what to do when something is missing. Fails when tleg cannot work."""
    from tleg.doctor import examine
    from tleg.serialize import encode

    report = examine()
    if as_json:
        write_json(encode(report))
    else:
        for title, text in _lines(report):
            write(printable(f"{title:<18}{text}".rstrip()))
    for problem in report.problems:
        say(printable(f"tleg: {problem}"))
    if report.problems:
        raise typer.Exit(ExitCode.FAILED)


def _lines(report: "Report") -> Iterator[tuple[str, str]]:
    yield "tleg", report.tleg
    yield "Python", f"{report.python} ({report.executable})"
    yield "platform", report.platform
    threads = "" if report.threads is None else f", torch uses {report.threads} threads"
    yield "processors", f"{report.processors}{threads}"
    yield "cores", f"{report.cores} for tleg; a training on them with one worker takes {report.training_threads} (--threads)"
    yield "CUDA", f"torch is built for {report.cuda}" if report.cuda else "torch is built without it"
    for device in report.devices:
        memory = "" if device.memory is None else f", {format_bytes(device.memory)}"
        yield "device", f"{device.name}  {device.description}{memory}"
    for library in report.required:
        reason = f"  {library.reason}" if library.reason else ""
        yield library.name, f"{library.version or ''} {'' if library.state == 'found' else library.state}".strip() + reason
    for library in report.optional:
        yield library.name, library.version or ("not installed (optional)" if library.state == "missing" else "found")
    yield "learngenes", f"{', '.join(report.learngenes) or 'none'} in {report.learngene_folder}"
    yield "Fashion-MNIST", report.fashion_mnist or "not found"
    yield "data folder", f"{report.data_folder} ({'writable' if report.data_folder_writable else 'not writable'})"
    yield "verdict", "something is missing or broken" if report.problems else "ready"
