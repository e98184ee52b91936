"""`python -m tleg.data.look_again RUN_DIR`: what changed of that on which a run depends, before it goes on.

Prints {"changes": [{"text": …, "acceptable": …}]}, or {"problem": …} when the data cannot be opened. A process of its own,
in the run's working folder: whoever resumes a run stays where it is, and without numpy.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tleg.container import read_header
from tleg.data.dataset import Wanted, open_data
from tleg.data.listing import list_data
from tleg.data.model_hashes import hash_folder, hash_learngene, hash_weights
from tleg.errors import TlegError
from tleg.recipes.document import from_values
from tleg.runs.inputs import InputChange, ModelListing, RunInputs, compare_data, compare_models, read_inputs
from tleg.runs.layout import RunFolder
from tleg.runs.spec import RunSpec, read_spec
from tleg.schema import encode


def look_again(folder: RunFolder) -> list[InputChange]:
    """Return what changed since the run began. Raises TlegError when the data cannot be opened."""
    known = read_inputs(folder)
    return [] if known is None else list(_changes(read_spec(folder), known))


def _changes(spec: RunSpec, known: RunInputs) -> Iterator[InputChange]:
    recipe = from_values(spec.kind, spec.recipe)
    if known.data is not None:
        data = open_data(recipe.data, recipe.validation_split, recipe.recipe.seed, Wanted(recipe.images))
        yield from compare_data(known.data, list_data(data))
    for model in known.models:
        if model.path is None:
            continue
        path = Path(model.path)
        if not path.exists():
            yield InputChange(f"the {model.role} {model.name} is gone", acceptable=False)
        else:
            yield from compare_models([model], [look_at_model(model, path)])


def look_at_model(model: ModelListing, path: Path) -> ModelListing:
    """Return the listing of what is at a model's path now. Raises InputError when it is damaged."""
    if model.role == "learngene":
        return hash_learngene(model.name, path, read_header(path))
    return hash_folder(model.role, model.name, path) if path.is_dir() else hash_weights(model.role, model.name, path)


def main() -> None:
    """Look, and print."""
    try:
        answer = {"changes": [encode(each) for each in look_again(RunFolder(Path(sys.argv[1])))]}
    except (TlegError, OSError) as error:
        answer = {"problem": str(error)}  # type: ignore[dict-item]  # another kind of answer
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
