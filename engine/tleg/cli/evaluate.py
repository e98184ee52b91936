"""`tleg evaluate`: accuracy of a learngene at many depths, of a folder that timm loads, or of an export."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tleg.cli.app import app
from tleg.cli.calibration import show_calibration, show_cascade
from tleg.cli.options import takes_options
from tleg.errors import InputError
from tleg.learngene.profile import format_depth, plain_depth
from tleg.recipes.evaluation import Evaluation
from tleg.terminal import counting_progress, say, write, write_json
from tleg.text import printable

if TYPE_CHECKING:
    from tleg.data.datasets import Data
    from tleg.learngene.header import Precision
    from tleg.learngene.profile import Depth
    from tleg.training.accuracy import Score


@app.command()
@takes_options
def evaluate(
    path: Annotated[
        str,
        typer.Argument(help="Learngene, folder that timm loads, TIMM_NAME:FILE, a run, an export.", metavar="PATH"),
    ],
    options: Evaluation,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Measure top-1 accuracy on the validation images, every image once; all depths of a learngene in one pass.

    Fails, with the figures of the other depths, where a model's outputs are not finite. --record keeps the figures in the
    learngene's header, by data, images, precision and size of the inputs; those of the same that differ are replaced with
    --force alone. With --image-size, what depends on the size is resampled as timm does it.

    --knn, --linear-probe and --retrieval measure pooled features instead, of models with or without a classifier.

    --calibrate fits a temperature, by which outputs are divided before the softmax, to one half of the images, and shows
    the expected calibration error (ECE, 15 bins) and the mean negative log-likelihood (NLL) before and after on the other.
    --cascade 3,8 lets depth 3 answer where it is sure, and depth 8 else: the threshold is chosen on one half and judged on
    the other. --seed decides which half is which.
    """
    from tleg.threads import choose_threads, use_threads

    # Before torch and ONNX Runtime are imported.
    use_threads(choose_threads(options.threads, workers=options.workers).count)
    import torch

    from tleg.api import prepare_evaluation
    from tleg.data.unreadable import describe_reasons
    from tleg.serialize import encode
    from tleg.training.accuracy import require_finite
    from tleg.training.learn import measured_on

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if options.probes:
        _probe(path, options, as_json=as_json)
        return
    prepared = prepare_evaluation(path, options)
    subject, opened, placement = prepared.subject, prepared.data, prepared.placement
    for note in prepared.notes:
        say(f"note: {printable(note)}")
    if options.calibrate or options.cascade is not None:
        show = show_calibration if options.calibrate else show_cascade
        show(path, prepared, options, as_json=as_json)
        return
    with counting_progress("evaluating") as progress:
        scores = prepared.run(progress)
    if as_json:
        results = [{"depth": plain_depth(depth), **encode(score)} for depth, score in scores.items()]
        write_json(
            {
                "path": path,
                "kind": subject.kind,
                "data": opened.name,
                "part": opened.part,
                "measured_on": measured_on(opened),
                "precision": placement.precision,
                "image_size": list(subject.input_size[1:]),
                "notes": list(prepared.notes),
                "left_out": dict(opened.left_out),
                "classes": list(opened.classes),
                "results": results,
            }
        )
    else:
        _write_table(scores)
        if options.per_class:
            _write_classes(opened.classes, scores)
        first = next(iter(scores.values()))
        missing = ""
        if first.unreadable:
            missing = f"; {first.unreadable} images could not be read and do not count: {describe_reasons(first.reasons)}"
        say(f"{first.images_per_second:.0f} images/s{missing}")
    require_finite(scores, printable(path))
    if options.record:
        _record(path, opened, scores, placement.precision, options.pixels, overwrite=options.force)


def _probe(path: str, options: Evaluation, *, as_json: bool) -> None:
    """Measure features, and show what each depth reached."""
    from tleg.serialize import encode
    from tleg.training.probe import prepare_probe

    prepared = prepare_probe(path, options)
    for note in prepared.notes:
        say(f"note: {printable(note)}")
    with counting_progress("computing features") as progress:
        result = prepared.run(progress)
    if as_json:
        rows = [{"depth": plain_depth(depth), **encode(score)} for depth, score in result.scores.items()]
        document: dict[str, Any] = {"path": path, "kind": prepared.subject.kind, "precision": prepared.placement.precision}
        document |= {"data": result.data, "bank": result.bank, "images": result.images, "neighbours": result.neighbours}
        write_json({**document, "size": result.size, "notes": list(result.notes), "results": rows})
        return
    asked = {"knn": options.knn, "linear": options.linear_probe, "retrieval": options.retrieval}
    titles = {"knn": "k-NN %", "linear": "linear %", "retrieval": "mAP %"}
    texts = {depth: _text(depth) for depth in result.scores}
    width = max(5, *map(len, texts.values()))
    chosen = [name for name, wanted in asked.items() if wanted]
    write(" ".join([f"{'depth':<{width}}", *(f"{titles[name]:>9}" for name in chosen)]))
    for depth, score in result.scores.items():
        values = (getattr(score, name) for name in chosen)
        write(
            " ".join([f"{texts[depth]:>{width}}", *(f"{'-' if value is None else f'{value:.2f}':>9}" for value in values)])
        )
    bank = f", {result.bank} training images" if result.bank else ""
    say(f"features of {result.size} values; {result.images} validation images{bank}")


def _record(
    path: str,
    data: "Data",
    scores: "Mapping[Depth | None, Score]",
    precision: "Precision",
    image_size: tuple[int, int] | None,
    *,
    overwrite: bool,
) -> None:
    """Write the figures into the learngene, and say what became of those that were there."""
    from tleg.models.learngene import load
    from tleg.training.learn import record_scores

    learngene = load(path)
    try:
        recorded = record_scores(learngene, data, scores, precision, image_size=image_size, overwrite=overwrite)
    except InputError as error:
        raise InputError(f"{path} keeps its figures: {error.message}", **error.about, advice=error.advice) from error
    before = {each.where: each.by_depth for each in learngene.header.measured}
    for each in recorded.header.measured:
        earlier = before.get(each.where, {})
        now = each.by_depth
        for depth in (depth for depth, value in earlier.items() if now[depth] != value):
            text = f"replaced depth {format_depth(depth)} on {each}: {earlier[depth]:.2f} % is {now[depth]:.2f} % now"
            say(printable(text))
    recorded.save(path, overwrite=True)


def _write_table(scores: "Mapping[Depth | None, Score]") -> None:
    texts = {depth: _text(depth) for depth in scores}
    width = max(5, *map(len, texts.values()))
    write(f"{'depth':<{width}}   top-1 %   top-5 %     loss   images")
    for depth, score in scores.items():
        top1, top5, loss = (
            "-" if value is None else f"{value:.{decimals}f}"
            for value, decimals in ((score.top1, 2), (score.top5, 2), (score.loss, 4))
        )
        write(f"{texts[depth]:>{width}} {top1:>9} {top5:>9} {loss:>8} {score.images:>8}")


def _text(depth: "Depth | None") -> str:
    return "-" if depth is None else format_depth(depth)


def _write_classes(classes: Sequence[str], scores: "Mapping[Depth | None, Score]") -> None:
    """A row for each class, a column for each depth."""
    width = max(len("top-1 % by class"), *map(len, classes))
    write("")
    write(" ".join([f"{'top-1 % by class':<{width}}", *(f"{_text(depth):>7}" for depth in scores)]))
    for index, name in enumerate(classes):
        values = (score.per_class[index] for score in scores.values())
        cells = ("      -" if value is None else f"{value:>7.2f}" for value in values)
        write(" ".join([f"{printable(name):<{width}}", *cells]))
