"""Recipes as flat documents: option name -> value. What a TOML file holds, what options give, what a run stores."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

from tleg.errors import InputError, did_you_mean
from tleg.recipes.fields import Option, check_value, options_of
from tleg.recipes.kinds import KIND_DEFAULTS, RECIPES, Kind, TrainingRecipe

NONE = "none"
Options = TypeVar("Options")


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
            _place(nested, each.path, read_value(each, values[name]))
        elif each.required:
            raise InputError(f"{kind} needs --{name}: {each.help}")
    return cast(TrainingRecipe, _build(chosen, nested))


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


def build_options(kind: type[Options], values: Mapping[str, Any]) -> Options:
    """Return a dataclass of options from option name -> value; those that are left out keep their defaults.

    Every value is checked against its option's range and choices, also where the dataclass does not do so itself. Raises
    InputError naming the option.
    """
    nested: dict[str, Any] = {}
    for each in options_of(kind):
        if each.name in values:
            check_value(each, values[each.name])
            _place(nested, each.path, values[each.name])
        elif each.required:
            raise InputError(f"--{each.name} is missing: {each.help}")
    return cast(Options, _build(kind, nested))


def default_of(each: Option, kind: Kind) -> Any:
    """Return an option's default in one kind of training."""
    return KIND_DEFAULTS[kind].get(each.name, each.default)


def _unknown(name: str, kind: str, options: Mapping[str, Option]) -> str:
    other = "finetune" if kind == "learn" else "learn"
    if any(each.name == name for each in options_of(RECIPES[cast(Kind, other)])):
        return f"{name} is an option of {other}, not of {kind}"
    return f"{kind} has no option '{name}'.{did_you_mean(name, options)}"


def _place(nested: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        nested = nested.setdefault(name, {})
    nested[path[-1]] = value


def _build(kind: type, nested: Mapping[str, Any]) -> object:
    hints = get_type_hints(kind)
    values = {key: _build(hints[key], value) if is_dataclass(hints[key]) else value for key, value in nested.items()}
    built: object = kind(**values)
    return built
