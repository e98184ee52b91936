"""Dataclasses of options from flat values: option name -> value. Knows no recipe, so that a preview need not load any."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

from tleg.errors import InputError
from tleg.recipes.fields import check_value, options_of

Options = TypeVar("Options")


def build_options(kind: type[Options], values: Mapping[str, Any]) -> Options:
    """Return a dataclass of options from option name -> value; those that are left out keep their defaults.

    Every value is checked against its option's range and choices, also where the dataclass does not do so itself. Raises
    InputError naming the option.
    """
    nested: dict[str, Any] = {}
    for each in options_of(kind):
        if each.name in values:
            check_value(each, values[each.name])
            place(nested, each.path, values[each.name])
        elif each.required:
            raise InputError(f"--{each.name} is missing: {each.help}", field=each.name, code="missing")
    return cast(Options, build(kind, nested))


def place(nested: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at a path of nested dictionaries, which are made on the way."""
    for name in path[:-1]:
        nested = nested.setdefault(name, {})
    nested[path[-1]] = value


def build(kind: type, nested: Mapping[str, Any]) -> object:
    """Return a dataclass from the values of its fields, those of nested dataclasses nested."""
    hints = get_type_hints(kind)
    values = {key: build(hints[key], value) if is_dataclass(hints[key]) else value for key, value in nested.items()}
    built: object = kind(**values)
    return built
