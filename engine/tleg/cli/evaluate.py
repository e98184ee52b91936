"""`tleg evaluate`: accuracy of a learngene at many depths, of a folder that timm loads, or of an ONNX export."""

from pathlib import Path
from typing import Annotated

import typer

from tleg.cli import training_options as options
from tleg.cli.main import app
from tleg.cli.output import write, write_json
from tleg.errors import InputError


@app.command()
def evaluate(
    path: Annotated[
        str,
        typer.Argument(help="Learngene (file or name), folder that timm loads, TIMM_NAME:FILE, or ONNX.", metavar="PATH"),
    ],
    data: options.DataOption,
    depths: Annotated[
        str | None, typer.Option(help="Of a learngene or elastic ONNX, as in 4,6,8-12. Default: 1-16.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images at once.")] = 256,
    workers: options.WorkersOption = 0,
    device: options.DeviceOption = "auto",
    precision: options.PrecisionOption = "float32",
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
    opened = open_data(data)
    with options.counting_progress("evaluating") as progress:
        scores = evaluate_subject(subject, opened, placement, batch_size=batch_size, workers=workers, progress=progress)
    if record:
        record_scores(load(path), opened, scores).save(path, overwrite=True)
    if as_json:
        results = [{"depth": depth, **encode(score)} for depth, score in scores.items()]
        write_json({"path": path, "kind": subject.kind, "data": opened.name, "results": results})
        return
    write("depth   top-1 %   top-5 %     loss   images")
    for depth, score in scores.items():
        top5 = "-" if score.top5 is None else f"{score.top5:.2f}"
        write(f"{'-' if depth is None else depth:>5} {score.top1:>9.2f} {top5:>9} {score.loss:>8.4f} {score.images:>8}")
