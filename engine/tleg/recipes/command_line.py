"""The command line that equals a recipe."""

import json
import shlex
from typing import Any

from tleg.recipes.document import to_values
from tleg.recipes.fields import options_of
from tleg.recipes.kinds import TrainingRecipe


def command_words(recipe: TrainingRecipe) -> tuple[str, ...]:
    """Return the words of `tleg learn …` or `tleg finetune …` with every value that is not a default."""
    values = to_values(recipe, complete=False)
    words = ["tleg", recipe.kind]
    for each in options_of(type(recipe)):
        if each.name not in values:
            continue
        value = values[each.name]
        if each.kind is bool:
            words.append(f"--{each.name}")
        elif each.kind is dict:
            for key, item in value.items():
                words += [f"--{each.name}", f"{key}={_text(item)}"]
        else:
            words += [f"--{each.name}", str(value)]
    return tuple(words)


def format_command(words: tuple[str, ...]) -> str:
    """Return words as a line for a shell."""
    return shlex.join(words)


def _text(value: Any) -> str:
    """Write a value so that it is read as what it is: a text only stands bare when it is not also a JSON value."""
    if value is None:
        return "None"
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value) if value in ("None", "True", "False") else value
    return json.dumps(value)
