"""One definition for an option of the command line, a key of a recipe file and a field of the trainer.

A recipe, and what any other command takes, is a frozen dataclass whose fields say their own help, range and choices.
`options_of` reads them, nested dataclasses included; everything that shows, reads or writes options is made from that.
"""

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from tleg.errors import InputError, did_you_mean

_KEY: Final = "option"
# How the stages of an architecture follow a depth, where there are several.
PROFILES: Final = ("elastic", "all")
PROFILES_HELP: Final = "Of several stages, elastic changes the longest with the depth, all changes every one."


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of one option.

    name      as it is typed, without dashes in front: 'batch-size'
    path      the fields that lead to it: ('recipe', 'batch_size')
    kind      int, float, str, bool, Path, dict, or list for one that may be given several times
    item      of a list: what it holds, int or str
    optional  whether None is a value: then nothing is the default, or 'none' is written for it
    required  whether it has no default
    least, most  the smallest and the largest number that it may be (each one, of a list)
    letter    one letter that stands for it, as in -n
    rule      the range in words, where those say more than two numbers: 'a batch has 1 image or more'
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
    item: type | None = None
    letter: str | None = None
    rule: str = ""


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
    letter: str | None = None
    rule: str = ""


def option(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002  # What it is called everywhere else.
    group: str = "",
    name: str | None = None,
    metavar: str | None = None,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    letter: str | None = None,
    rule: str = "",
) -> Any:
    """Declare a field that is an option. `least` and `most` are inclusive; `choices` are the words that it may be."""
    return _declare(default, _Notes(help, name, group, metavar, least, most, choices, letter, rule))


def same_option(kind: type, name: str, default: Any = MISSING, *, help: str, group: str = "") -> Any:  # noqa: A002
    """Declare a field that is an option of another class under the same name, in the same range, with words of its own."""
    known = option_named(kind, name)
    notes = _Notes(help, known.name, group, known.metavar, known.least, known.most, known.choices, known.letter, known.rule)
    return _declare(default, notes)


def _declare(default: Any, notes: _Notes) -> Any:
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata={_KEY: notes})
    return field(default=default, metadata={_KEY: notes})


def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options of a recipe class, those of nested dataclasses where they stand.

    A class that extends another may name fields of it that are none of its own options in a class variable `left_out`.
    """
    return _options_of(kind)


def option_named(kind: type, name: str) -> Option:
    """Return an option of a recipe class. Raises InputError with a hint when there is none of that name."""
    known = {each.name: each for each in options_of(kind)}
    if name not in known:
        raise InputError(f"there is no option '{name}'.{did_you_mean(name, known)}", field=name, code="unknown-name")
    return known[name]


def check_fields(recipe: Any) -> None:
    """Check a dataclass's own fields against their ranges and choices. Raises InputError."""
    for each in options_of(type(recipe)):
        if len(each.path) == 1:
            check_value(each, getattr(recipe, each.path[0]))


def check_value(each: Option, value: Any) -> None:
    """Check one value against an option's range and choices. Raises InputError naming the option."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not _is_finite(item):
                raise InputError(
                    f"{each.name} {key} must be made of finite numbers, not {item!r}", field=each.name, code="out-of-range"
                )
        return
    for item in value if isinstance(value, tuple | list) else () if value is None else (value,):
        if isinstance(item, int | float) and not isinstance(item, bool):
            _check_range(each, item)
        if each.choices and item not in each.choices:
            hint = did_you_mean(str(item), each.choices)
            raise InputError(
                f"unknown {each.name} '{item}': choose {_either(each.choices)}.{hint}", field=each.name, code="unknown-name"
            )


def _is_finite(value: Any) -> bool:
    """Whether a JSON value holds no NaN and no infinity, which neither a recipe file nor a run's description can hold."""
    if isinstance(value, Mapping | list | tuple):
        return all(map(_is_finite, value.values() if isinstance(value, Mapping) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_range(each: Option, value: float) -> None:
    least, most = -math.inf if each.least is None else each.least, math.inf if each.most is None else each.most
    # Comparisons, because a whole number may be larger than any float; NaN fails each of them.
    if -math.inf < value < math.inf and least <= value <= most:
        return
    bounds = f"from {_written(least)} to {_written(most)}" if math.isfinite(most) else f"at least {_written(least)}"
    rule = f"{each.name}: {each.rule}" if each.rule else f"{each.name} must be {bounds}"
    raise InputError(f"{rule}, not {_written(value)}", field=each.name, code="out-of-range")


def _written(value: float) -> str:
    """A whole number with all its digits, unless they are more than anybody reads."""
    if isinstance(value, int) or (abs(value) < 1e15 and value.is_integer()):
        text = str(int(value))
        return text if len(text) <= 20 else f"{text[:17]}..."
    return f"{value:g}"


@cache
def _options_of(kind: Any) -> tuple[Option, ...]:
    return tuple(_walk(kind, ()))


def _walk(kind: type, path: tuple[str, ...]) -> Iterator[Option]:
    hints = get_type_hints(kind)
    left_out: frozenset[str] = getattr(kind, "left_out", frozenset())
    for item in fields(kind):
        if item.name in left_out:
            continue
        hint = hints[item.name]
        if is_dataclass(hint):
            yield from _walk(hint, (*path, item.name))  # type: ignore[arg-type]  # a dataclass type, not an instance
        elif _KEY in item.metadata:
            yield _describe(item, hint, (*path, item.name))


def _describe(item: Field[Any], hint: Any, path: tuple[str, ...]) -> Option:
    notes: _Notes = item.metadata[_KEY]
    optional = get_origin(hint) in (Union, types.UnionType) and types.NoneType in get_args(hint)
    kind = next(each for each in get_args(hint) if each is not types.NoneType) if optional else hint
    origin, item_kind = get_origin(kind), None
    if origin is tuple:
        kind, item_kind = list, get_args(kind)[0]
    elif origin is not None and issubclass(origin, Mapping):
        kind = dict
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
        item_kind,
        notes.letter,
        notes.rule,
    )


def _either(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
