"""`tleg analyze`: how linear the layers of a model are in their position."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import takes_options
from tleg.recipes.analysis import Analysis
from tleg.terminal import BOLD, DIM, say, styled, write, write_json
from tleg.text import printable

if TYPE_CHECKING:
    from tleg.models.linearity import Linearity
    from tleg.training.analyze import LayerAnalysis

# Standard deviations above shuffled layers from which a row stands out.
_CLEAR = 3.0


@app.command()
@takes_options
def analyze(
    model: Annotated[
        str,
        typer.Argument(
            help="Learngene, folder that timm loads, TIMM_NAME:FILE, a run, or a timm name.",
            metavar="MODEL",
        ),
    ],
    options: Analysis,
    plot: Annotated[str | None, typer.Option(help="Draw it into this file, .svg or .png.", metavar="FILE")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the picture if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Show how linear a model's layers are in their position: what a learngene could express of it.

    R2 is the part of the variance over layers, beyond their mean, that functions of the position t = l / L explain, beside
    what they explain of the same layers in random order: mean and standard deviation. Also the layers' principal components,
    and how alike their outputs are (linear CKA).
    """
    from tleg.errors import concerning
    from tleg.files import check_file, new_file
    from tleg.picture import check_suffix
    from tleg.threads import choose_threads, use_threads

    target = None if plot is None else Path(plot)
    if target is not None:
        with concerning("plot"):
            check_suffix(target.suffix)
            check_file(target, overwrite=force)
    # Before torch is imported.
    use_threads(choose_threads(options.threads, workers=0).count)
    from tleg.api import run_analysis
    from tleg.serialize import encode

    analysis = run_analysis(model, options)
    for note in analysis.notes:
        say(f"note: {printable(note)}")
    if as_json:
        write_json({**encode(analysis), "positions": list(analysis.positions)})
    else:
        _write_report(analysis)
    if target is not None:
        from tleg.training.analysis_picture import draw_analysis

        with concerning("plot"), new_file(target, overwrite=force) as path:
            path.write_bytes(draw_analysis(analysis).in_format(target.suffix))
        say(f"drawn: {printable(str(target))}")


def _write_report(analysis: "LayerAnalysis") -> None:
    say(printable(f"{analysis.description}: {analysis.layers} layers in {analysis.blocks}"))
    rows = (*analysis.parameters, analysis.overall, analysis.balanced)
    header = ["parameter", *(fit.basis for fit in analysis.overall.fits), "order"]
    lines = [header, *(_cells(each, len(header) - 2) for each in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line, each in zip(lines, (None, *rows), strict=True):
        write(styled(_line(line, widths), BOLD if each is None or _is_clear(each) else "" if each.fits else DIM))
    say(
        f"R2 of each basis, and mean±std of it over {analysis.shuffles} shuffles of the layers; order: rank correlation of "
        "the first component with the position"
    )
    write("")
    _write_layers(analysis)


def _cells(each: "Linearity", bases: int) -> list[str]:
    if not each.fits or each.components is None:
        return [each.name, *["all equal"] * bases, "-"]
    fits = (f"{fit.r2:.3f} {fit.shuffled.mean:.3f}±{fit.shuffled.std:.3f}" for fit in each.fits)
    return [each.name, *fits, f"{each.components.order:.2f}"]


def _is_clear(each: "Linearity") -> bool:
    return bool(each.fits) and each.fits[0].z is not None and each.fits[0].z >= _CLEAR


def _write_layers(analysis: "LayerAnalysis") -> None:
    """A line for each layer: where it lies, and how alike it is to the one before, the first and the last."""
    components, alike = analysis.balanced.components, analysis.similarity.values
    coordinates = ((0.0, 0.0),) * analysis.layers if components is None else components.coordinates
    rows = [["layer", "t", "first", "second", "previous", "to first", "to last"]]
    for layer, (position, (first, second)) in enumerate(zip(analysis.positions, coordinates, strict=True)):
        before = f"{alike[layer][layer - 1]:.2f}" if layer else "-"
        ends = (f"{alike[layer][other]:.2f}" for other in (0, -1))
        rows.append([str(layer), f"{position:.3f}", f"{first:+z.3f}", f"{second:+z.3f}", before, *ends])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        text = "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        write(styled(text, BOLD if index == 0 else ""))
    if components is not None:
        shares = ", ".join(f"{100 * share:.0f}" for share in components.shares[:5])
        order = components.shuffled
        say(f"first, second: principal components, each parameter alike; they hold {shares} % of the variance")
        say(
            f"the first orders the layers with rank correlation {components.order:.2f}; shuffled ones with "
            f"{order.mean:.2f}±{order.std:.2f}"
        )
    similarity = analysis.similarity
    what = f"linear CKA of outputs on {similarity.on}" if similarity.of == "outputs" else "cosines of the layers' weights"
    say(printable(f"previous, to first, to last: {what}"))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.rjust(width) if index else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([name, *numbers]).rstrip()
