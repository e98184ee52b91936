"""How many images a training would have, counted without opening one, so that a batch is checked before anything starts.

Standard library only: the workbench counts as well.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tleg.data.image_files import LeftOut, folders_in, walk_images
from tleg.data.splits import find_splits
from tleg.data.tar import archive_of, class_of, read_archive
from tleg.errors import DataError, InputError
from tleg.recipes.io import from_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.recipes.training import parts_of, too_few
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import observe

# Its 60,000 training images lie in one file.
_KNOWN: Final = {"fashion-mnist": ((6000,) * 10)}


def count_training_images(text: str, validation_split: float | None, enough: int, place: Path | None = None) -> int | None:
    """Return how many images a data set has for training, or some number from `enough` on; None when that is not known.

    validation_split  the part of every class that is not trained on
    place             where relative paths start

    Never raises: what is wrong with the data is told when it is opened.
    """
    found = 0
    try:
        for count in _classes_of(text, place, splitting=validation_split is not None, enough=2 * enough):
            if validation_split is not None and count > 1:
                count -= min(count - 1, max(1, round(validation_split * count)))
            found += count
            if found >= enough:
                break
    except (OSError, DataError, ValueError):
        return None
    return found or None


def check_batch(recipe: TrainingRecipe, place: Path | None = None) -> None:
    """Refuse a batch that is larger than the training images, as far as they can be counted. Raises DataError.

    place  where relative paths start
    """
    batch_size = recipe.recipe.batch_size
    images = count_training_images(recipe.data, recipe.validation_split, batch_size, place)
    problem = images and too_few(images, batch_size, parts_of(recipe.recipe, recipe.compute.processes))
    if problem:
        raise DataError(problem, field=("batch-size", "data"), code="out-of-range")


def check_batch_of_run(folder: RunFolder, changes: Mapping[str, Any] | None = None) -> None:
    """Refuse to go on with a run whose batch is larger than its training images. Raises DataError.

    changes  option name -> value, of what will be another
    """
    if observe(folder).at_work:
        return  # That is what will be said.
    spec = read_spec(folder)
    try:
        recipe = from_values(spec.kind, {**spec.recipe, **(changes or {})})
    except InputError:
        return  # What is wrong with the recipe is said where the run is started.
    check_batch(recipe, Path(spec.folder))


def _classes_of(text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
    """The number of training images of each class; from `enough` on a class is not counted further."""
    if text in _KNOWN:
        yield from _KNOWN[text]
    elif text.startswith("tar:"):
        yield from _classes_in_archive(_placed(text.removeprefix("tar:"), place))
    else:
        folder = _placed(text, place)
        train = find_splits(folder).train or (folder if splitting else None)
        for each in folders_in(train) if train is not None else ():
            counted = zip(walk_images(each, LeftOut()), range(enough), strict=False)
            yield sum(1 for _ in counted)


def _classes_in_archive(path: Path) -> Iterator[int]:
    file = archive_of(path, "train") if path.is_dir() else path
    if file is None:
        return
    archive = read_archive(file)
    counts: dict[str, int] = {}
    for member in archive.splits().get("train", archive.members):
        counts[class_of(member)] = counts.get(class_of(member), 0) + 1
    yield from counts.values()


def _placed(text: str, place: Path | None) -> Path:
    return Path(text) if place is None else place / text
