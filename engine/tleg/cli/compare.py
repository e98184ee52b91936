"""`tleg compare`: a few runs side by side."""

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, RunsDirOption, runs_folder_of
from tleg.terminal import is_interactive, say, write, write_json
from tleg.text import format_bytes, format_count, format_duration, join_words, printable

if TYPE_CHECKING:
    from tleg.study.compare import ComparedArms, ComparedRun, Comparison

_COLUMNS, _NARROWEST = 80, 9
_NONE = "-"


@app.command()
def compare(
    run: Annotated[
        list[str], typer.Argument(help="Ids, the beginnings of them, 'last', or paths: two runs or more.", metavar="RUN...")
    ],
    runs_dir: RunsDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show runs side by side: in which options they differ, accuracy by depth, images, compute, time, what is stored.

    Runs that differ in their seed alone are one arm; other arms are compared with that of the first run by the seeds that
    both have.
    """
    from tleg.api import compare_runs

    comparison = compare_runs(run, runs_folder_of(runs_dir))
    for note in comparison.notes:
        say(f"note: {printable(note)}")
    if as_json:
        write_json(_document(comparison))
        return
    _write(comparison)


def _write(comparison: "Comparison") -> None:
    letters = {each.id: _letter(index) for index, each in enumerate(comparison.runs)}
    for each in comparison.runs:
        write(printable(f"{letters[each.id]}  {each.id}"))
    rows = list(_rows(comparison))
    label = max(len(name) for name, _ in rows)
    width = shutil.get_terminal_size((_COLUMNS, 24)).columns if is_interactive(sys.stdout) else _COLUMNS
    # As many runs side by side as there is room for, with a column each that holds what is longest in it.
    most = max((width - label) // len(letters) - 2, _NARROWEST)
    columns = [[_short(cells[index], most) for _, cells in rows] for index in range(len(letters))]
    widths = [max(map(len, [letter, *column])) for letter, column in zip(letters.values(), columns, strict=True)]
    write("")
    for index in range(-1, len(rows)):
        name = rows[index][0] if index >= 0 else ""
        cells = [column[index] for column in columns] if index >= 0 else list(letters.values())
        line = [name.ljust(label), *(cell.rjust(room) for cell, room in zip(cells, widths, strict=True))]
        write("  ".join(line).rstrip())
    if comparison.arms:
        write("")
    for arms in comparison.arms:
        _write_arms(arms, letters)


def _letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)


def _rows(comparison: "Comparison") -> Iterator[tuple[str, list[str]]]:
    """What is shown of each run: a name, and a cell for every run."""
    from tleg.study.tables import format_value

    def row(name: str, write_cell: "Callable[[ComparedRun], str | None]") -> tuple[str, list[str]]:
        texts = [write_cell(each) for each in comparison.runs]
        return name, [_NONE if text is None else printable(text) for text in texts]

    yield row("kind", lambda run: run.kind)
    yield row("state", lambda run: run.state)
    for name in comparison.options:
        values = [run.options.get(name) for run in comparison.runs]
        yield name, [_NONE if value is None else printable(format_value(value)) for value in values]
    for depth in comparison.depths:
        title = "top-1 %" if depth is None else f"depth {depth}, %"
        yield title, [f"{run.top1[depth]:.2f}" if depth in run.top1 else _NONE for run in comparison.runs]
    if len(comparison.depths) > 1:
        # A mean over other depths would not compare.
        yield row(
            "mean, %",
            lambda run: f"{sum(run.top1.values()) / len(run.top1):.2f}" if set(run.top1) == set(comparison.depths) else None,
        )
    for depth in sorted({depth for run in comparison.runs for depth in run.cosine if depth is not None}):
        yield (
            f"depth {depth}, cosine",
            [f"{run.cosine[depth]:.3f}" if depth in run.cosine else _NONE for run in comparison.runs],
        )
    yield row("epochs", _epochs)
    yield row("images", lambda run: _maybe(run.images, format_count))
    yield row("training MACs", lambda run: _maybe(run.macs, format_count))
    yield row("time", lambda run: _maybe(run.seconds, format_duration))
    yield row("parameters", lambda run: _maybe(run.parameters, format_count))
    yield row("stored", lambda run: _maybe(run.bytes, format_bytes))


def _epochs(run: "ComparedRun") -> str | None:
    if run.epochs is None or run.epochs_in_all is None:
        return None
    return f"{run.epochs:g}" if run.epochs >= run.epochs_in_all else f"{run.epochs:g}/{run.epochs_in_all}"


def _maybe(value: float | None, write_value: Callable[[float], str]) -> str | None:
    return None if value is None else write_value(value)


def _short(text: str, most: int) -> str:
    """A text in so many columns; of a longer one its end, by which paths differ."""
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _write_arms(arms: "ComparedArms", letters: dict[str, str]) -> None:
    from tleg.study.tables import format_p

    result = arms.result
    names = [",".join(letters[each] for each in side) for side in (arms.first, arms.second)]
    depths = [str(depth) for depth in arms.depths if depth is not None]
    over = f", mean over depths {join_words(depths)}" if len(depths) > 1 else f" at depth {depths[0]}" if depths else ""
    unit, decimals = (" points", 2) if arms.of == "top1" else (" in cosine", 3)
    write(f"{names[0]} - {names[1]}: {result.difference:+z.{decimals}f}{unit}{over}")
    if result.p is None or result.interval is None:
        seeds = "1 seed, so no test" if result.n == 1 else f"{result.n} seeds with equal differences, so no test"
        write(f"  {seeds}")
        return
    low, high = result.interval
    corrected = "" if arms.corrected in (None, result.p) else f", {format_p(arms.corrected)} after Holm's correction"
    write(f"  {result.n} seeds, 95 % from {low:+z.{decimals}f} to {high:+z.{decimals}f}, p {format_p(result.p)}{corrected}")


def _document(comparison: "Comparison") -> dict[str, Any]:
    """The comparison as JSON: accuracies as lists, because a depth may not be known."""
    from tleg.serialize import encode

    runs = []
    for each in comparison.runs:
        top1 = [{"depth": depth, "top1": value} for depth, value in each.top1.items()]
        cosine = [{"depth": depth, "cosine": value} for depth, value in each.cosine.items()]
        runs.append({**encode(each), "path": str(each.path), "top1": top1, "cosine": cosine})
    return {**encode(comparison), "runs": runs}
