"""`tleg predict`: what a model says to images."""

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.app import app
from tleg.cli.options import JsonOption, takes_options
from tleg.recipes.prediction import Prediction
from tleg.terminal import counting_progress, say, write, write_json
from tleg.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tleg.training.predict import PredictedImage


@app.command()
@takes_options
def predict(
    path: Annotated[
        str,
        typer.Argument(help="Learngene, folder that timm loads, TIMM_NAME:FILE, a run, an export.", metavar="PATH"),
    ],
    images: Annotated[list[str], typer.Argument(help="Image files, or folders of them.", metavar="IMAGE...")],
    options: Prediction,
    as_json: JsonOption = False,
) -> None:
    """Say which classes a model sees in images, with their probabilities (the softmax of its outputs).

    Images are prepared as in evaluation. One that cannot be read is named on stderr, and the others are looked at; where
    none can be read the command fails. A temperature that the model keeps is used, and told.

    With --cascade 3,8 depth 8 is asked for the images alone of which depth 3 is not sure; what they cost is the sum of both.
    """
    from tleg.threads import choose_threads, use_threads

    # Before torch and ONNX Runtime are imported.
    use_threads(choose_threads(options.threads, workers=options.workers).count)
    import torch

    from tleg.api import prepare_prediction
    from tleg.learngene.profile import plain_depth
    from tleg.serialize import encode

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    prepared = prepare_prediction(path, images, options)
    for note in prepared.notes:
        say(f"note: {printable(note)}")
    with counting_progress("predicting") as progress:
        said = prepared.run(progress)
    for each in said:
        if each.problem is not None:
            say(printable(each.problem))
    if as_json:
        subject, trust = prepared.subject, prepared.trust
        depths = [plain_depth(depth) for depth in subject.predictors]
        cascade = {"depths": depths, "threshold": trust.threshold, "temperatures": list(trust.temperatures)}
        asked = {"temperature": trust.temperatures[0]} if options.cascade is None else {"cascade": cascade}
        write_json(
            {
                "path": path,
                "kind": subject.kind,
                "depth": depths[0] if options.cascade is None else None,
                **asked,
                "precision": prepared.placement.precision,
                "image_size": list(subject.input_size[1:]),
                "notes": list(prepared.notes),
                "images": encode(said),
            }
        )
        return
    _write(said)


def _write(said: "Sequence[PredictedImage]") -> None:
    """One image: a line for each class. Several: a line for each image."""
    if len(said) == 1:
        for each in said[0].classes:
            write(f"{100 * each.probability:>6.2f} %  {printable(each.name)}")
        if said[0].depth is not None:
            write(f"depth {said[0].depth} answered")
        return
    read = [each for each in said if each.classes]
    width = max(len(printable(each.image)) for each in read)
    for image in read:
        named = (f"{100 * each.probability:>6.2f} %  {printable(each.name)}" for each in image.classes)
        answered = [] if image.depth is None else [f"depth {image.depth:>2}"]
        write("  ".join([f"{printable(image.image):<{width}}", *answered, *named]))
    counts = Counter(image.depth for image in read if image.depth is not None)
    if counts:
        say(
            ", ".join(f"depth {depth} answered for {count} of {len(read)} images" for depth, count in sorted(counts.items()))
        )
