"""Recipes as flat documents: option name -> value. What a TOML file holds, what options give, what a run stores."""

from collections.abc import Mapping
from typing import Any, cast

from tleg.errors import InputError, did_you_mean
from tleg.recipes.building import build, place
from tleg.recipes.fields import Option, options_of
from tleg.recipes.kinds import KIND_DEFAULTS, RECIPES, Kind, TrainingRecipe

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
        raise InputError(f"unknown kind of training '{kind}': choose {' or '.join(RECIPES)}.{did_you_mean(kind, RECIPES)}")
    chosen = RECIPES[cast(Kind, kind)]
    options = {each.name: each for each in options_of(chosen)}
    for name in values:
        if name not in options:
            raise InputError(_unknown(name, kind, options))
    values = {**KIND_DEFAULTS[cast(Kind, kind)], **values}
    nested: dict[str, Any] = {}
    for name, each in options.items():
        if name in values:
            place(nested, each.path, read_value(each, values[name]))
        elif each.required:
            raise InputError(f"{kind} needs --{name}: {each.help}")
    return cast(TrainingRecipe, build(chosen, nested))


def read_value(each: Option, value: Any) -> Any:
    """Return a document's value as an option's type. Raises InputError naming the option."""
    if value is None or (each.optional and value == NONE and each.default is not None):
        if not each.optional:
            raise InputError(f"{each.name} cannot be empty")
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
        raise InputError(f"{each.name} must be {wanted}, not {value!r}")
    return value


def default_of(each: Option, kind: Kind) -> Any:
    """Return an option's default in one kind of training."""
    return KIND_DEFAULTS[kind].get(each.name, each.default)


def _unknown(name: str, kind: str, options: Mapping[str, Option]) -> str:
    other = "finetune" if kind == "learn" else "learn"
    if any(each.name == name for each in options_of(RECIPES[cast(Kind, other)])):
        return f"{name} is an option of {other}, not of {kind}"
    return f"{kind} has no option '{name}'.{did_you_mean(name, options)}"
