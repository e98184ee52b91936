"""`tleg fit`: the least-squares learngene of a trained model."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, takes_options
from tleg.recipes.fitting import FitOutput, Fitting
from tleg.terminal import say, write, write_json
from tleg.text import format_bytes, format_count, printable

if TYPE_CHECKING:
    from tleg.models.linearity import Fit
    from tleg.training.fit import FitReport, StageReport

_NONE = "-"


@app.command()
@takes_options
def fit(
    model: Annotated[
        str, typer.Argument(help="Folder that timm loads, TIMM_NAME:FILE, a run, or a timm name.", metavar="MODEL")
    ],
    options: Fitting,
    where: FitOutput,
    as_json: JsonOption = False,
) -> None:
    """Write the learngene that comes closest to a trained model: stem, norms and head as they are, layers by least squares.

    It is a start for `tleg learn --start`, and no good model by itself. The report says how much of the layers it is: R2
    beside the same of shuffled layers, and the distance from each layer.
    """
    from tleg.errors import concerning
    from tleg.files import check_file
    from tleg.threads import choose_threads, use_threads

    output = Path(where.output)
    with concerning("output"):
        check_file(output, overwrite=where.force)
    # Before torch is imported.
    use_threads(choose_threads(options.threads, workers=0).count)
    from tleg.api import run_fit
    from tleg.serialize import encode
    from tleg.training.fit import ADVICE

    fitted = run_fit(model, options)
    with concerning("output"):
        fitted.learngene.save(output, overwrite=where.force)
    for note in fitted.report.notes:
        say(f"note: {printable(note)}")
    if as_json:
        size = output.stat().st_size
        values = {"output": str(output), "bytes": size, "parameters": fitted.learngene.parameters}
        write_json({**values, "advice": ADVICE, **encode(fitted.report)})
        return
    write(str(output))
    _write_report(fitted.report)
    say(f"{format_count(fitted.learngene.parameters)} parameters, {format_bytes(output.stat().st_size)}")
    say(ADVICE)


def _write_report(report: "FitReport") -> None:
    for stage in report.stages:
        write("")
        write(printable(f"{report.architecture}: {stage.layers} layers in {stage.name}, {report.basis} basis"))
        _write_stage(stage)
    say(
        f"R2: variance over layers that the basis explains, and mean±std of it over {report.shuffles} shuffles of layers; "
        "error: ||layers - fit|| / ||layers||"
    )


def _write_stage(stage: "StageReport") -> None:
    rows = [["parameter", "R2", "shuffled", "error"]]
    rows += [[each.name, *_explained(each.r2), f"{each.error:.3f}"] for each in stage.parameters]
    for name, each in (("all values", stage.overall), ("each alike", stage.balanced)):
        if each is not None and each.fits:
            rows.append([name, *_explained(each.fits[0]), f"{stage.error:.3f}" if name == "all values" else _NONE])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        write(printable("  ".join([name.ljust(widths[0]), *numbers])))
    if stage.exact:
        write("no more layers than terms: the fit is exact, and says nothing of other depths")
    for line in wrap(f"error by layer: {' '.join(f'{each:.2f}' for each in stage.by_layer)}", 78):
        write(line)


def _explained(fit: "Fit | None") -> list[str]:
    if fit is None:
        return [_NONE, _NONE]
    return [f"{fit.r2:.3f}", f"{fit.shuffled.mean:.3f}±{fit.shuffled.std:.3f}"]
