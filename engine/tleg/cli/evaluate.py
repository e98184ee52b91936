"""`tleg evaluate`: accuracy of a learngene at many depths, of a folder that timm loads, or of an ONNX export."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.main import app
from tleg.cli.output import counting_progress, printable, say, write, write_json
from tleg.errors import InputError
from tleg.recipes.kinds import DATA_HELP

if TYPE_CHECKING:
    from tleg.training.evaluation import Score


@app.command()
def evaluate(
    path: Annotated[
        str,
        typer.Argument(help="Learngene (file or name), folder that timm loads, TIMM_NAME:FILE, or ONNX.", metavar="PATH"),
    ],
    data: Annotated[str, typer.Option(help=DATA_HELP, metavar="DATA")],
    depths: Annotated[
        str | None, typer.Option(help="Of a learngene or elastic ONNX, as in 4,6,8-12. Default: 1-16.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 256,
    limit: Annotated[int | None, typer.Option(help="Look at so many images only, spread over all.")] = None,
    validation_split: Annotated[
        float | None, typer.Option(help="Evaluate on this part of the training images, as training with it does.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the training, for --validation-split.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that prepare images.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "float32",
    per_class: Annotated[bool, typer.Option("--per-class", help="Show the accuracy of every class.")] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write the accuracies into the learngene's header."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Measure top-1 accuracy on the validation images, every image once; all depths of a learngene in one pass."""
    from tleg.atomic import check_file
    from tleg.ranges import parse_depths
    from tleg.schema import encode

    chosen = parse_depths(depths) if depths else None
    if batch_size < 1 or workers < 0:
        raise InputError("--batch-size is at least 1 and --workers at least 0")
    if limit is not None and limit < 1:
        raise InputError("--limit is at least 1")
    if limit is not None and record:
        raise InputError("--record needs all images; leave --limit out")

    from tleg.data.dataset import open_data
    from tleg.learngene import load
    from tleg.training.device import choose_placement
    from tleg.training.learn import record_scores
    from tleg.training.subjects import evaluate_subject, open_subject

    placement = choose_placement(device, precision)
    subject = open_subject(path, placement, chosen)
    if record:
        if subject.kind != "learngene" or not Path(path).is_file():
            raise InputError("--record writes into a learngene file; name one by its path")
        check_file(Path(path), overwrite=True)
    opened = open_data(data, validation_split, seed)
    with counting_progress("evaluating") as progress:
        scores = evaluate_subject(
            subject, opened, placement, batch_size=batch_size, workers=workers, limit=limit, progress=progress
        )
    if record:
        record_scores(load(path), opened, scores).save(path, overwrite=True)
    if as_json:
        results = [{"depth": depth, **encode(score)} for depth, score in scores.items()]
        write_json(
            {"path": path, "kind": subject.kind, "data": opened.name, "classes": list(opened.classes), "results": results}
        )
        return
    write("depth   top-1 %   top-5 %     loss   images")
    for depth, score in scores.items():
        top5 = "-" if score.top5 is None else f"{score.top5:.2f}"
        write(f"{'-' if depth is None else depth:>5} {score.top1:>9.2f} {top5:>9} {score.loss:>8.4f} {score.images:>8}")
    if per_class:
        _write_classes(opened.classes, scores)
    first = next(iter(scores.values()))
    missing = f"; {first.unreadable} images could not be read and do not count" if first.unreadable else ""
    say(f"{first.images_per_second:.0f} images/s{missing}")


def _write_classes(classes: Sequence[str], scores: "Mapping[int | None, Score]") -> None:
    """A row for each class, a column for each depth."""
    width = max(len("top-1 % by class"), *map(len, classes))
    write("")
    write(" ".join([f"{'top-1 % by class':<{width}}", *(f"{'-' if depth is None else depth:>7}" for depth in scores)]))
    for index, name in enumerate(classes):
        values = (score.per_class[index] for score in scores.values())
        cells = ("      -" if value is None else f"{value:>7.2f}" for value in values)
        write(" ".join([f"{printable(name):<{width}}", *cells]))
