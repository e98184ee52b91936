"""How many images a training would have, counted without opening one, so that a batch is checked before anything starts.

Standard library only: the workbench counts as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tleg.data.sources import source_of
from tleg.errors import DataError, InputError
from tleg.recipes.io import from_values
from tleg.recipes.recipes import TrainingRecipe
from tleg.recipes.training import parts_of, too_few
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import observe


def count_training_images(text: str, validation_split: float | None, enough: int, place: Path | None = None) -> int | None:
    """Return how many images a data set has for training, or some number from `enough` on; None when that is not known.

    validation_split  the part of every class that is not trained on
    place             where relative paths start

    Never raises: what is wrong with the data is told when it is opened.
    """
    found = 0
    try:
        source = source_of(text, place)
        counts = source.count(text, place, splitting=validation_split is not None, enough=2 * enough) if source else ()
        for count in counts:
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
