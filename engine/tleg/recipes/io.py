"""Recipes as text and back: flat documents, TOML files, the equal command line.

A document is a flat mapping, option name -> value: what a TOML file holds, what options give, what a run stores.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tleg.errors import FileFormatError, InputError, describe_os_error, did_you_mean
from tleg.recipes import Kind
from tleg.recipes.building import build, place
from tleg.recipes.fields import Option, options_of
from tleg.recipes.finetuning import KIND_DEFAULTS
from tleg.recipes.recipes import RECIPES, TrainingRecipe

NONE = "none"


def to_values(recipe: TrainingRecipe, *, complete: bool = True) -> dict[str, Any]:
    """Return option name -> JSON value. A value that is not given is left out; without `complete`, defaults are as well."""
    values: dict[str, Any] = {}
    for each in options_of(type(recipe)):
        value: Any = recipe
        for name in each.path:
            value = getattr(value, name)
        if value is None and each.default is not None:
            value = NONE
        default = default_of(each, recipe.kind)
        if value is None or value == {} or (not complete and value == default):
            continue
        values[each.name] = dict(value) if each.kind is dict else value
    return values


def from_values(kind: str, values: Mapping[str, Any]) -> TrainingRecipe:
    """Return the recipe of a document. Raises InputError naming the option that is unknown, missing or wrong."""
    if kind not in RECIPES:
        raise InputError(
            f"unknown kind of training '{kind}': choose {', '.join(RECIPES)}.{did_you_mean(kind, RECIPES)}",
            field="kind",
            code="unknown-name",
        )
    chosen = RECIPES[cast(Kind, kind)]
    options = {each.name: each for each in options_of(chosen)}
    for name in values:
        if name not in options:
            raise InputError(_unknown(name, kind, options), field=name, code="unknown-name")
    values = {**KIND_DEFAULTS[cast(Kind, kind)], **values}
    nested: dict[str, Any] = {}
    for name, each in options.items():
        if name in values:
            place(nested, each.path, read_value(each, values[name]))
        elif each.required:
            raise InputError(f"{kind} needs --{name}: {each.help}", field=name, code="missing")
    return cast(TrainingRecipe, build(chosen, nested))


def find_problems(kind: str, values: Mapping[str, Any]) -> dict[str, InputError]:
    """Return all that is wrong with a document at once: option -> error. '' stands for what is about none.

    Of several options that contradict each other one that was given is named. Without it the next problem shows.
    """
    left, problems = dict(values), dict[str, InputError]()
    while True:
        try:
            from_values(kind, left)
        except InputError as error:
            name = next((each for each in error.fields if each in left), error.field or "")
            problems.setdefault(name, error)
            if name not in left:
                return problems
            del left[name]
        else:
            return problems


def read_value(each: Option, value: Any) -> Any:
    """Return a document's value as an option's type. Raises InputError naming the option."""
    if value is None or (each.optional and value == NONE and each.default is not None):
        if not each.optional:
            raise InputError(f"{each.name} cannot be empty", field=each.name, code="malformed")
        return None
    if each.kind is dict and isinstance(value, Mapping):
        return {str(key): None if item == "None" else item for key, item in value.items()}
    if each.kind is str and isinstance(value, list) and all(type(item) in (int, str) for item in value):
        return ",".join(map(str, value))  # depths as a list of numbers
    if each.kind is str and type(value) is int:
        return str(value)  # threads = 4, evaluate-depths = 8
    if each.kind is float and type(value) is int:
        return float(value)
    if type(value) is not each.kind:
        wanted = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table"}[each.kind]
        raise InputError(f"{each.name} must be {wanted}, not {value!r}", field=each.name, code="malformed")
    return value


def default_of(each: Option, kind: Kind) -> Any:
    """Return an option's default in one kind of training."""
    return KIND_DEFAULTS[kind].get(each.name, each.default)


def _unknown(name: str, kind: str, options: Mapping[str, Option]) -> str:
    for other in ("learn", "finetune"):
        if other != kind and any(each.name == name for each in options_of(RECIPES[other])):
            return f"{name} is an option of {other}, not of {kind}"
    return f"{kind} has no option '{name}'.{did_you_mean(name, options)}"


def read_toml(path: Path, what: str) -> tuple[str, dict[str, Any]]:
    """Return a file's text and its document. `what` it is is also the name of the option or argument that it is of.

    Raises InputError when it cannot be read, FileFormatError when it is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {describe_os_error(error)}", field=what, code="system") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"the {what} {path} is no TOML: {error}", field=what) from error


def read_values(path: Path, kind: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return a file's kind of training and its values, not yet checked.

    Raises FileFormatError when it is no TOML, and InputError when it is of another kind than asked for.
    """
    document = read_toml(path, "recipe")[1]
    found = document.pop("kind", kind)
    if not isinstance(found, str):
        raise FileFormatError(
            f'the recipe {path} lacks its kind: write kind = "learn", "train" or "finetune"', field="recipe"
        )
    if kind is not None and found != kind:
        raise InputError(
            f"the recipe {path} is for `tleg {found}`, not for `tleg {kind}`", field="recipe", code="wrong-kind"
        )
    return found, document


def read_recipe(path: Path) -> TrainingRecipe:
    """Read and check a recipe file. Raises FileFormatError, or InputError naming file and option."""
    kind, values = read_values(path)
    try:
        return from_values(kind, values)
    except InputError as error:
        raise InputError(f"{path}: {error}", **error.about) from error


def format_recipe(recipe: TrainingRecipe) -> str:
    """Return a recipe as TOML, every value stated, grouped as in the help. Reading it gives the same recipe."""
    return format_values(recipe.kind, to_values(recipe), {each.name: each.group for each in options_of(type(recipe))})


def format_values(kind: str, values: Mapping[str, Any], groups: Mapping[str, str]) -> str:
    """Return values as TOML, under a comment for each group."""
    sections: dict[str, list[str]] = {}
    for name, value in values.items():
        sections.setdefault(groups[name], []).append(f"{name} = {toml_value(value)}")
    parts = [f"kind = {toml_value(kind)}", *(f"\n# {group}\n" + "\n".join(lines) for group, lines in sections.items())]
    return "\n".join(parts) + "\n"


def toml_value(value: Any) -> str:
    """Return a JSON value as TOML has it, in one line; None as "None"."""
    if value is None:
        return '"None"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_key(str(key))} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    # JSON's escapes are TOML's, but for halves of surrogate pairs, and for this one.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(text: str) -> str:
    """Return a key as TOML has it, in quotes where it needs them."""
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else toml_value(text)


def command_words(recipe: TrainingRecipe) -> tuple[str, ...]:
    """Return the words of `tleg learn …`, `tleg train …` or `tleg finetune …` with every value that is not a default."""
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
            raise InputError(f"--{name} takes KEY=VALUE, not '{text}'", field=name, code="malformed")
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
