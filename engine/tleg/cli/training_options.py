"""Options that `tleg learn` and `tleg finetune` share, and how training shows itself."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tleg.cli.output import is_interactive, say
from tleg.errors import InputError

if TYPE_CHECKING:
    from tleg.recipes.training import Recipe
    from tleg.training.loop import Progress, StepReport

SECONDS_BETWEEN_LINES: Final = 30.0

DataOption = Annotated[
    str,
    typer.Option(
        help="fashion-mnist, fashion-mnist:FOLDER, or a folder with train/CLASS/* and val/CLASS/*.", metavar="DATA"
    ),
]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        help="Ancestry model: a folder that timm loads, TIMM_NAME:FILE, or a timm name (download).",
        metavar="NAME|PATH",
    ),
]
ModelArgOption = Annotated[
    list[str] | None,
    typer.Option("--model-arg", help="An argument for timm, such as patch_size=4. May be repeated.", metavar="KEY=VALUE"),
]
EpochsOption = Annotated[int, typer.Option(help="Passes over the training images.")]
BatchSizeOption = Annotated[int, typer.Option(help="Images a step.")]
LrOption = Annotated[
    float | None, typer.Option(help="Peak learning rate. Default: 5e-4 * batch size / 512, the paper's rule.")
]
SeedOption = Annotated[int, typer.Option(help="Decides everything random.")]
WorkersOption = Annotated[int, typer.Option(help="Processes that prepare images. Does not change the result.")]
OutputOption = Annotated[str, typer.Option(help="Where the result goes.", metavar="PATH")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[str, typer.Option(help="auto, float32 or bfloat16.")]
TemperatureOption = Annotated[float, typer.Option(help="Softens the logits of teacher and student.")]
WeightOption = Annotated[float, typer.Option("--distillation-weight", help="Of the teacher; the labels get the rest.")]
NormalisationOption = Annotated[
    str, typer.Option("--distillation-normalisation", help="batchmean, or official (also divided by the classes).")
]
CropOption = Annotated[float, typer.Option("--crop-scale", help="Smallest part of the image that a random crop keeps.")]
FlipOption = Annotated[float, typer.Option(help="Probability of a horizontal flip.")]
AugmentOption = Annotated[str, typer.Option("--auto-augment", help="timm's policy, or none.", metavar="POLICY")]
ErasingOption = Annotated[float, typer.Option("--random-erasing", help="Probability that a rectangle is erased.")]
MixupOption = Annotated[float, typer.Option(help="timm's mixup alpha; 0 is off.")]
CutmixOption = Annotated[float, typer.Option(help="timm's cutmix alpha; 0 is off.")]
SmoothingOption = Annotated[float, typer.Option("--label-smoothing", help="Of the labels' loss.")]
DecayOption = Annotated[float, typer.Option("--weight-decay", help="AdamW's.")]
WarmupOption = Annotated[
    float | None, typer.Option("--warmup-epochs", help="Epochs of linear warm-up. Default: 1, at most a fifth of all.")
]


def parse_model_arguments(texts: Sequence[str] | None) -> dict[str, Any]:
    """Read KEY=VALUE pairs. A value is a JSON value (4, 0.1, true, [28,28]), None, or a text. Raises InputError."""
    import json

    words = {"None": None, "True": True, "False": False}
    arguments: dict[str, Any] = {}
    for text in texts or ():
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise InputError(f"--model-arg takes KEY=VALUE, not '{text}'")
        try:
            arguments[key] = words[value] if value in words else json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


def make_recipe(**values: Any) -> "Recipe":
    """Make a recipe from options; those of the augmentation go where they belong. Raises InputError."""
    from tleg.recipes.training import Augmentation, Recipe

    policy = values.pop("auto_augment")
    augmentation = Augmentation(
        crop_scale=values.pop("crop_scale"),
        flip=values.pop("flip"),
        auto_augment=None if policy in ("none", "") else policy,
        random_erasing=values.pop("random_erasing"),
    )
    return Recipe(augmentation=augmentation, **values)


Counting = Callable[[int, int], None]


@contextmanager
def training_progress(title: str) -> Iterator[tuple["Progress", Counting | None]]:
    """Yield callbacks that show steps and then evaluation: a live bar on a terminal, otherwise a line now and then."""
    if is_interactive(sys.stderr):
        with _live_progress(title) as callbacks:
            yield callbacks
    else:
        yield _line_progress(title), None


def _line_progress(title: str) -> "Progress":
    reported = -math.inf

    def callback(report: "StepReport") -> None:
        nonlocal reported
        if report.step in (1, report.steps) or time.monotonic() - reported >= SECONDS_BETWEEN_LINES:
            reported = time.monotonic()
            say(
                f"{title}: epoch {report.epoch}/{report.epochs}, step {report.step}/{report.steps}, loss {report.loss:.4f}, "
                f"learning rate {report.learning_rate:.2e}, {report.images_per_second:.0f} images/s"
            )

    return callback


@contextmanager
def _live_progress(title: str) -> Iterator[tuple["Progress", Counting]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as bar:
        training = bar.add_task(title, total=None, figures="")
        evaluation = bar.add_task("evaluating", total=None, figures="", visible=False)

        def step(report: "StepReport") -> None:
            figures = f"{report.epoch}/{report.epochs} loss {report.loss:.3f} {report.images_per_second:.0f} img/s"
            bar.update(training, total=report.steps, completed=report.step, figures=figures)

        def count(done: int, total: int) -> None:
            bar.update(evaluation, total=total, completed=done, figures=f"{done}/{total} images", visible=True)

        yield step, count


@contextmanager
def counting_progress(title: str) -> Iterator[Counting | None]:
    """Yield a callback for (done, in all) that moves a bar on a terminal, or None where nobody looks."""
    if not is_interactive(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), refresh_per_second=4, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, total=total, completed=done)
