"""One definition for an option of the command line, a key of a recipe file and a field of the trainer.

A recipe is a frozen dataclass whose fields say their own help, range and choices. `options_of` reads them, nested
dataclasses included; everything that shows, reads or writes recipes is made from that.
"""

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from tleg.errors import InputError, did_you_mean

_KEY: Final = "option"


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of one option.

    name      as it is typed, without dashes in front: 'batch-size'
    path      the fields that lead to it: ('recipe', 'batch_size')
    kind      int, float, str, bool or dict
    optional  whether None is a value: then nothing is the default, or 'none' is written for it
    required  whether it has no default
    """

    name: str
    path: tuple[str, ...]
    kind: type
    optional: bool
    required: bool
    default: Any
    help: str
    group: str
    metavar: str | None
    least: float | None
    most: float | None
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Notes:
    """What a field says of itself."""

    help: str
    name: str | None
    group: str
    metavar: str | None
    least: float | None
    most: float | None
    choices: tuple[str, ...]


def option(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002  # What it is called everywhere else.
    group: str,
    name: str | None = None,
    metavar: str | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a field that is an option. `least` and `most` are inclusive; `choices` are the words that it may be."""
    notes = _Notes(help, name, group, metavar, least, most, choices)
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata={_KEY: notes})
    return field(default=default, metadata={_KEY: notes})


def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options of a recipe class, those of nested dataclasses where they stand."""
    return _options_of(kind)


def option_named(kind: type, name: str) -> Option:
    """Return an option of a recipe class. Raises InputError with a hint when there is none of that name."""
    known = {each.name: each for each in options_of(kind)}
    if name not in known:
        raise InputError(f"there is no option '{name}'.{did_you_mean(name, known)}")
    return known[name]


def check_fields(recipe: Any) -> None:
    """Check a dataclass's own fields against their ranges and choices. Raises InputError."""
    for each in options_of(type(recipe)):
        if len(each.path) == 1:
            check_value(each, getattr(recipe, each.path[0]))


def check_value(each: Option, value: Any) -> None:
    """Check one value against an option's range and choices. Raises InputError naming the option."""
    if value is None:
        return
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = -math.inf if each.least is None else each.least, math.inf if each.most is None else each.most
        if not math.isfinite(value) or not least <= value <= most:
            bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"at least {least:g}"
            raise InputError(f"{each.name} must be {bounds}, not {value:g}")
    if each.choices and value not in each.choices:
        hint = did_you_mean(str(value), each.choices)
        raise InputError(f"unknown {each.name} '{value}': choose {_either(each.choices)}.{hint}")


@cache
def _options_of(kind: Any) -> tuple[Option, ...]:
    return tuple(_walk(kind, ()))


def _walk(kind: type, path: tuple[str, ...]) -> Iterator[Option]:
    hints = get_type_hints(kind)
    for item in fields(kind):
        hint = hints[item.name]
        if is_dataclass(hint):
            yield from _walk(hint, (*path, item.name))  # type: ignore[arg-type]  # a dataclass type, not an instance
        elif _KEY in item.metadata:
            yield _describe(item, hint, (*path, item.name))


def _describe(item: Field[Any], hint: Any, path: tuple[str, ...]) -> Option:
    notes: _Notes = item.metadata[_KEY]
    optional = get_origin(hint) in (Union, types.UnionType) and types.NoneType in get_args(hint)
    kind = next(each for each in get_args(hint) if each is not types.NoneType) if optional else hint
    kind = dict if get_origin(kind) is not None and issubclass(get_origin(kind), Mapping) else kind
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    return Option(
        notes.name or item.name.replace("_", "-"),
        path,
        kind,
        optional,
        default is MISSING,
        None if default is MISSING else default,
        notes.help,
        notes.group,
        notes.metavar,
        notes.least,
        notes.most,
        notes.choices,
    )


def _either(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
