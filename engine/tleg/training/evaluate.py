"""Evaluating: on which images, and what each model of a subject reaches on them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from tleg.data.datasets import PARTS, Data, Wanted
from tleg.data.decoding import count_turned
from tleg.data.open import open_data
from tleg.data.sources import data_name
from tleg.data.splits import Split
from tleg.errors import InputError
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth
from tleg.models.classes import class_order
from tleg.recipes.images import EvaluatedImages
from tleg.training.accuracy import Predictor, Score, Tally, evaluate
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.subjects import Subject, in_order, told_of

# In the names of data sets, before the part was recorded by itself.
_SPLIT: Final = re.compile(r" \(split ([0-9.e+-]+)(?:, seed \d+)?\)$")


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What the record of a training says of its images.

    split   the part of the training images that was held out; None when there were other validation images
    images  how many it was trained on; None where that was not recorded
    """

    data: str
    split: float | None
    seed: int
    images: int | None


def trained_on(record: Mapping[str, Any]) -> TrainedOn | None:
    """Read the record of a training, of a learngene or a folder; None where it does not say which data it was."""
    name, recipe = record.get("data"), record.get("recipe")
    seed = recipe.get("seed") if isinstance(recipe, Mapping) else None
    if not isinstance(name, str) or type(seed) is not int:
        return None
    match = _SPLIT.search(name)
    split = record.get("validation_split", match and _number(match[1]))
    images = record.get("images")
    return TrainedOn(
        _SPLIT.sub("", name),
        float(split) if isinstance(split, int | float) and 0 < split < 1 else None,
        seed,
        images if type(images) is int else None,
    )


def open_evaluation_data(
    text: str,
    images: EvaluatedImages,
    *,
    trained: TrainedOn | None,
    preprocessing: Preprocessing,
    classes: tuple[str, ...] = (),
    validation_split: float | None = None,
    seed: int | None = None,
) -> Data:
    """Open the images to evaluate on. Its notes say which they are where that is not plain.

    trained           what the model was trained on: of the same data, what training held out is evaluated
    preprocessing     the model's, with the EXIF orientation as it will be in force
    classes           the names that the model knows
    validation_split  evaluate on this part of the training images; `seed` (None: the training's) decides which

    Raises DataError, and InputError for a split of the data's own and one of its training images together.
    """
    if images.split is not None and validation_split is not None:
        raise InputError(
            "--split names images of the data's own, --validation-split takes training images; give one of them",
            field=("split", "validation-split"),
            code="conflict",
        )
    same = trained is not None and trained.data == data_name(text)
    notes: list[str] = []
    if trained is not None and same:
        if seed is None:
            seed = trained.seed
        if validation_split is None and images.split is None and trained.split is not None:
            validation_split = trained.split
            notes.append(
                f"evaluating on what training held out: validation split {trained.split:g} with seed {seed}; "
                "--split names other images"
            )
        elif validation_split is not None and (validation_split, seed) != (trained.split, trained.seed):
            how = "without a validation split"
            if trained.split is not None:
                how = f"with a validation split of {trained.split:g} and seed {trained.seed}"
            notes.append(
                f"the model was trained on {trained.data} {how}, so it has seen images that it is evaluated on now; its "
                "accuracy on others is lower"
            )
    split = cast("Split | None", images.split)
    reading = images.reading(preprocessing.pixel_range)
    wanted = Wanted(reading, evaluation=True, split=split, classes=classes)
    data = open_data(text, validation_split, seed or 0, wanted)
    if data.part == PARTS["train"]:
        notes.append("these are training images: accuracy on images that a model has seen says little about others")
    again = trained is not None and same and data.validation_split == (trained.split, trained.seed)
    if trained is not None and again and trained.images not in (None, len(data.train)):
        notes.append(
            f"training had {trained.images} images, and the split leaves {len(data.train)} now; the data has changed, and "
            "the model may have seen some of these"
        )
    if not preprocessing.exif and images.exif is None:
        turned, looked_at = count_turned(data.validation)
        if turned:
            notes.append(
                f"{turned} of {looked_at} images are not stored upright, as EXIF says, and the model was made without "
                "turning them; --exif turns them"
            )
    return replace(data, notes=(*notes, *data.notes))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def evaluate_subject(
    subject: Subject,
    data: Data,
    placement: Placement,
    *,
    batch_size: int = 256,
    workers: int = 0,
    limit: int | None = None,
    world: World = SINGLE,
    progress: Callable[[int, int], None] | None = None,
    tally: Callable[[], Tally] | None = None,
) -> dict[Depth | None, Score]:
    """Return the score of every model of a subject on the validation images, in one pass.

    tally  what is summed over the outputs of a model; None is accuracies and the loss

    Classes are matched by name. Raises InputError when the subject knows other classes than the data.
    """
    if subject.num_classes == 0:
        raise InputError(
            "the model is a backbone without a classifier; measure its features with --knn or --linear-probe, or give it a "
            "classifier by fine-tuning",
            field="path",
            code="unsupported",
        )
    if subject.num_classes != len(data.classes):
        raise InputError(
            f"the model knows {subject.num_classes} classes and {data.name} has {len(data.classes)}; "
            "fine-tune it on this data first",
            field=("path", "data"),
            code="mismatch",
        )
    try:
        order = class_order(subject.classes, data.classes)
    except InputError as error:
        raise InputError(
            f"the model's classes are not those of {data.name}: {error}", field=("path", "data"), code="mismatch"
        ) from error
    predictors: dict[Depth | None, Predictor] = {depth: told_of(each, subject) for depth, each in subject.predictors.items()}
    if order is not None:
        predictors = {depth: in_order(predictor, order) for depth, predictor in predictors.items()}
    return evaluate(
        predictors,
        data.validation,
        placement,
        input_size=subject.input_size,
        preprocessing=subject.preprocessing,
        batch_size=batch_size,
        workers=workers,
        limit=limit,
        world=world,
        progress=progress,
        tally=tally,
    )
