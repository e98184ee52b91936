"""The command line that equals a recipe, and how its KEY=VALUE pairs are written and read."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tleg.errors import InputError
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
            words.append(f"--{each.name}" if value else f"--no-{each.name}")
        elif each.kind is dict:
            for pair in argument_pairs(value):
                words += [f"--{each.name}", pair]
        else:
            words += [f"--{each.name}", str(value)]
    return tuple(words)


def format_command(words: tuple[str, ...]) -> str:
    """Return words as a line for a shell."""
    return shlex.join(words)


def argument_pairs(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return arguments as KEY=VALUE pairs, which `parse_arguments` reads as the same."""
    return tuple(f"{key}={_text(value)}" for key, value in arguments.items())


def parse_arguments(texts: Sequence[str], name: str) -> dict[str, Any]:
    """Read KEY=VALUE pairs. A value is a JSON value (4, 0.1, true, [28,28]), None, or a text. Raises InputError."""
    words = {"None": None, "True": True, "False": False}
    arguments: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise InputError(f"--{name} takes KEY=VALUE, not '{text}'")
        try:
            arguments[key] = words[value] if value in words else json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


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
