"""The report of a family: what each device got, and accuracy against what it costs. Standard library only."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tleg.family.results import DepthSlice, DeviceSlice, FamilyResults
from tleg.files import new_file
from tleg.picture import Picture
from tleg.study.markup import EMPTY, Block, Cell, Heading, Listing, Table, Text, html_page, markdown_page
from tleg.study.plots import Point, draw_against, named_series
from tleg.text import format_bytes, format_count, format_image_size, format_latency

REPORTS = ("report.md", "report.html")


def write_report(folder: Path, results: FamilyResults, text: str) -> None:
    """Write report.md, and report.html with its plots in it. Raises ExportError when the operating system refuses.

    text  of the family's file
    """
    blocks = list(_blocks(results, text))
    for name, page in zip(REPORTS, (markdown_page(results.title, blocks), html_page(results.title, blocks)), strict=True):
        with new_file(folder / name, overwrite=True) as temporary:
            temporary.write_text(page, encoding="utf-8")


def _blocks(results: FamilyResults, text: str) -> Iterator[Block]:
    yield Text(
        f"Descendants of one learngene ({results.learngene}, {results.architecture}), accuracy in percent on {results.data}."
    )
    yield Heading("Devices")
    if results.devices:
        yield devices_table(results.devices)
    for name, reason in results.failed.items():
        yield Text(f"{name} failed: {reason}")
    for each in results.devices:
        if each.missed:
            reached = "no accuracy" if each.top1 is None else f"{each.top1:.2f} %"
            yield Text(f"{each.name} has {reached}, and {each.wanted:g} % were wanted.")
    plots = [each for each in _plots(results) if each is not None]
    if plots:
        yield Heading("Accuracy against cost")
        yield Text(
            "report.html has the plots: accuracy by compute, of all depths and of the files, and by the files' latency."
        )
        yield from plots
    yield Heading("Depths to choose among")
    yield depths_table(results.depths)
    yield Heading("How it was made")
    yield Text(f"Latency was measured on {results.machine}, one image at a time, median; licence: {results.license}.")
    yield Text(", ".join(f"{name} {version}" for name, version in results.versions.items()) + ".")
    if text.strip():
        yield Listing(text)


def devices_table(devices: Sequence[DeviceSlice]) -> Table:
    """What each device got."""
    timed = any(each.expected is not None for each in devices)
    header = ("device", "depth", "pixels", "export", "file", "params", "MACs", "zero-shot", "top-1", "latency here")
    rows = []
    for each in devices:
        row = (
            each.name,
            each.depth,
            format_image_size(each.image_size),
            each.export if each.dtype == "float32" else f"{each.export}, {each.dtype}",
            format_bytes(each.bytes),
            format_count(each.parameters),
            format_count(each.macs),
            _percent(each.zero_shot),
            Cell(_percent(each.top1), bold=True),
            format_latency(each.latency),
        )
        rows.append((*row, EMPTY if each.expected is None else format_latency(each.expected)) if timed else row)
    notes = ["zero-shot: the descendant without fine-tuning; top-1: of the file itself, in its own runtime"]
    notes += [f"{each.name}: fine-tuned for {each.epochs} epochs" for each in devices if each.epochs]
    notes += [f"{each.name}: there is {each.on}" for each in devices if each.on is not None]
    return Table((*header, *(("there",) if timed else ())), tuple(rows), "; ".join(notes) + ".")


def depths_table(depths: Sequence[DepthSlice]) -> Table:
    """What every depth costs and reaches without fine-tuning."""
    rows = tuple(
        (
            each.depth,
            format_image_size(each.image_size),
            format_count(each.parameters),
            format_count(each.macs),
            format_bytes(each.size),
            format_bytes(each.memory),
            _percent(each.top1),
        )
        for each in depths
    )
    return Table(("depth", "pixels", "params", "MACs", "size", "memory", "zero-shot"), rows)


def _plots(results: FamilyResults) -> Iterator[Picture | None]:
    """Accuracy against compute, of all depths and of the devices' files; and against latency, of the files."""
    sizes = dict.fromkeys(each.image_size for each in results.depths)
    named = {
        f"zero-shot, {format_image_size(size)} px": [
            Point(each.macs, each.top1) for each in results.depths if each.image_size == size and each.top1 is not None
        ]
        for size in sizes
    }
    files = {each.name: each for each in results.devices if each.top1 is not None}
    compute = {**named, **{name: [Point(each.macs, each.top1 or 0.0)] for name, each in files.items()}}
    latency = {name: [Point(each.latency, each.top1 or 0.0)] for name, each in files.items()}
    yield draw_against("Accuracy by compute", "multiply-accumulates for one image", named_series(compute))
    yield draw_against("Accuracy by latency", f"one image on {results.machine}", named_series(latency), format_latency)


def _percent(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.2f}"
