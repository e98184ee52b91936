"""`tleg preview --plot` and `--svg`: accuracy over a cost, in the terminal and as a picture."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tleg.cli.options import RUNS_DIR_HELP, runs_folder_of
from tleg.learngene.profile import format_depth
from tleg.recipes.fields import option
from tleg.terminal import BOLD, DIM, say, styled, write
from tleg.text import format_image_size, printable

if TYPE_CHECKING:
    from tleg.learngene.container import LearngeneFile
    from tleg.learngene.frontier import Frontier, TunedPoint
    from tleg.learngene.frontier_cells import Cell
    from tleg.learngene.preview import Preview

# Escape codes of what has one.
_STYLES: Final[Mapping[str, str]] = {
    "axis": DIM,
    "line": DIM,
    "over": DIM,
    "limit": "\x1b[33m",
    "trained": "\x1b[36m",
    "expanded": "\x1b[36m",
    "tuned": "\x1b[35m",
    "chosen": BOLD,
}
# Without a terminal that says how large it is; and the most lines, for a curve needs no more.
_USUAL: Final = (80, 24)
_MOST_LINES: Final = 30
_WIDEST: Final = 160
_AROUND: Final = 6  # Lines of a terminal that are for what is said around the picture.


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotOptions:
    """What is drawn."""

    plot: bool = option(False, help="Draw accuracy over a cost in place of the table.")
    svg: str | None = option(None, help="Draw accuracy over a cost into this file.", metavar="FILE")
    axis: str | None = option(
        None,
        help="The cost of --plot and --svg; latency needs --profile. Default: params.",
        choices=("params", "macs", "size", "memory", "latency"),
    )
    tuned: bool = option(False, help="Draw what runs reached that fine-tuned descendants of it, too.")
    runs_dir: str | None = option(None, help=RUNS_DIR_HELP, metavar="DIR")
    force: bool = option(False, help="Replace the picture if it exists.")


def check_options(options: PlotOptions, *, profile: str | None, in_place_of: str | None) -> None:
    """Refuse what cannot be drawn, before anything is read. Raises InputError.

    in_place_of  the option that asks for something else than a table
    """
    from tleg.errors import InputError, concerning
    from tleg.files import check_file

    if options.plot and in_place_of is not None:
        raise InputError(
            f"--plot draws a picture in place of what --{in_place_of} prints; --svg FILE draws one beside it",
            field=("plot", in_place_of),
            code="conflict",
        )
    if options.axis is not None and not options.plot and options.svg is None:
        raise InputError("--axis belongs to --plot or --svg", field="axis", code="conflict")
    if options.tuned and not options.plot and options.svg is None:
        raise InputError("--tuned belongs to --plot or --svg", field="tuned", code="conflict")
    if options.runs_dir is not None and not options.tuned:
        raise InputError("--runs-dir belongs to --tuned", field="runs-dir", code="conflict")
    if options.axis == "latency" and profile is None:
        raise InputError(
            "--axis latency needs a device: --profile FILE, as tleg benchmark --save-profile writes it",
            field=("axis", "profile"),
            code="missing",
        )
    if options.force and options.svg is None:
        raise InputError("--force belongs to --svg", field="force", code="conflict")
    if options.svg is not None:
        with concerning("svg"):
            if Path(options.svg).suffix.lower() != ".svg":
                raise InputError(f"{options.svg} does not end in .svg, which is what is written", code="malformed")
            check_file(Path(options.svg), overwrite=options.force)


def frontier_of(options: PlotOptions, result: "Preview", file: "LearngeneFile") -> "Frontier | None":
    """Return what is to be drawn; None where nothing was asked for.

    Raises InputError where no accuracy is known, and for a folder of runs that cannot be read.
    """
    if not options.plot and options.svg is None:
        return None
    from tleg.errors import InputError
    from tleg.learngene.frontier import make_frontier

    tuned = _tuned_of(options, result, file) if options.tuned else []
    frontier = make_frontier(result, options.axis or "params", tuned=tuned)
    if not frontier.points:
        why = (
            f"no accuracy of depth {frontier.unmeasured} is known: tleg evaluate LEARNGENE --data DATA --record measures it"
            if frontier.unmeasured
            else f"no {frontier.axis.label} of depth {frontier.uncosted} is known"
        )
        raise InputError(f"there is nothing to draw: {why}", field="plot" if options.plot else "svg", code="missing")
    return frontier


def _tuned_of(options: PlotOptions, result: "Preview", file: "LearngeneFile") -> "list[TunedPoint]":
    """What runs reached by fine-tuning; says where there is none, and what the picture leaves out. Raises InputError."""
    from tleg.errors import concerning
    from tleg.tuned import runs_that_tuned, tuned_by_data, tuned_points

    place = runs_folder_of(options.runs_dir)
    with concerning("runs-dir"):
        found = tuned_points(tuned_by_data(file, runs_that_tuned(file, place)))
    if not found:
        say(printable(f"no run in {place} has fine-tuned a descendant of {file.path.name} and measured it"))
    rows = {(row.image_size, row.depth) for row in result.rows}
    others = [each for each in found if (each.image_size, each.depth) not in rows]
    named = (f"{format_depth(each.depth)} at {format_image_size(each.image_size)}" for each in others)
    if others:
        say(f"fine-tuned at depths or sizes that are not shown: depth {', '.join(dict.fromkeys(named))}")
    return found


def save_picture(path: str, frontier: "Frontier", *, title: str, note: str, limit: str, overwrite: bool) -> None:
    """Write the picture.

    title  what is drawn, and `note` what accuracies were measured on
    limit  what the limit on the axis is called
    """
    from tleg.errors import concerning
    from tleg.files import new_file
    from tleg.learngene.frontier_picture import draw_frontier

    with concerning("svg"), new_file(Path(path), overwrite=overwrite) as temporary:
        temporary.write_text(draw_frontier(frontier, title, note, limit).svg(), encoding="utf-8")
    say(f"drawn: {printable(path)}")


def write_plot(frontier: "Frontier", limit: str) -> None:
    """Print the frontier, as wide as the terminal, and what it means."""
    from tleg.learngene.frontier_cells import LEAST_HEIGHT, LEAST_WIDTH, legend, plot_cells, runs

    size = shutil.get_terminal_size(_USUAL)
    width = min(max(size.columns, LEAST_WIDTH), _WIDEST)
    height = min(max(size.lines - _AROUND, LEAST_HEIGHT), _MOST_LINES)
    write(f"top-1 in percent over {frontier.label}")
    for line in plot_cells(frontier, width, height):
        write("".join(styled(text, _STYLES.get(role, "")) for text, role in runs(line)).rstrip())
    for line_of_legend in _legend_lines(legend(frontier, limit), width):
        write(line_of_legend)
    for remark in frontier.remarks:
        say(printable(remark))


def _legend_lines(entries: "Sequence[tuple[Cell, str]]", width: int) -> Iterator[str]:
    """What marks mean, on lines of at most a width where that is possible."""
    line, used = "", 0
    for cell, text in entries:
        taken = len(text) + 2
        if line and used + 3 + taken > width:
            yield line
            line, used = "", 0
        line += f"{'   ' if line else ''}{styled(cell.text, _STYLES.get(cell.role, ''))} {printable(text)}"
        used += taken + (3 if used else 0)
    yield line
