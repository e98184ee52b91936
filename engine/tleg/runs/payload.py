"""An event's content as a dataclass: its fields are the payload's names, written as they are and read with tolerance.

A viewer may be older or newer than the trainer that wrote an event. So reading never fails: a field that is missing in a
payload, or has a value of another type there, keeps its default, and names that are not known are ignored. Strict reading,
of files that one version writes and the same or a later one reads, is `tleg.serialize`.
"""

import math
import time
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar, Final, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Read = Callable[[Any], Any]  # The value as it should be, or None for a value of another type.

_GREATEST: Final = 10**300  # Greater whole numbers are no floats; nothing that is measured is so great.
_NOTE: Final = "note"
_SELDOM: Final = "seldom"


def noted(note: str, default: Any = None, *, seldom: bool = False) -> Any:
    """Return a field of a payload.

    note     unit or values, for docs/runs.md: 'percent'
    default  what it is in a payload that lacks it
    seldom   whether it is written only where it differs from its default
    """
    return field(default=default, metadata={_NOTE: note, _SELDOM: seldom})


def note_of(metadata: Mapping[str, Any]) -> str:
    """Return the note of a field, '' without one."""
    return str(metadata.get(_NOTE, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an event says. A subclass adds its fields, each with a default, and the event's type as `kind`.

    t  when it happened, in Unix time; stands in the event beside the payload
    """

    kind: ClassVar[str]
    t: float = field(default_factory=time.time)

    def payload(self) -> dict[str, Any]:
        """Return the content of the event, as JSON has it."""
        return {name: value for name, value in _plain(self).items() if name != "t"}

    @classmethod
    def read(cls, t: float, payload: Mapping[str, Any]) -> Self:
        """Return what a payload says. Never raises, whatever is in it."""
        return read_fields(cls, payload, t=t)


def read_fields(kind: type[T], payload: Mapping[str, Any], **given: Any) -> T:
    """Return a dataclass with the values of a payload where they have the right type, and its defaults elsewhere."""
    known: Any = kind  # What a cache takes.
    for name, read in _readers(known):
        if name not in given and (value := read(payload.get(name))) is not None:
            given[name] = value
    return kind(**given)


def number(payload: Mapping[str, Any], name: str) -> float | None:
    """Return a finite number of a payload, or None where there is none."""
    return _number(payload.get(name))


def integer(payload: Mapping[str, Any], name: str) -> int | None:
    """Return a whole number of a payload, or None where there is none."""
    value = payload.get(name)
    return value if type(value) is int else None


def _number(value: Any) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None  # Another writer's NaN.
    return float(value) if type(value) is int and abs(value) < _GREATEST else None


def _plain(value: Any) -> Any:
    """`tleg.serialize.encode`, without fields that are seldom written."""
    if is_dataclass(value):
        found = ((each, getattr(value, each.name)) for each in fields(value))
        return {each.name: _plain(item) for each, item in found if not each.metadata.get(_SELDOM) or item != each.default}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@cache
def _readers(kind: Any) -> tuple[tuple[str, Read], ...]:
    hints = get_type_hints(kind)
    return tuple((each.name, _reader(hints[each.name])) for each in fields(kind))


def _reader(hint: Any) -> Read:
    """What reads a value of a field with this annotation."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _reader(next(each for each in arguments if each is not types.NoneType))
    if origin is Literal:
        return lambda value: value if type(value) is str and value in arguments else None
    if origin is tuple:
        return _sequence_reader(_reader(arguments[0]))
    if origin is Mapping:
        return _mapping_reader(_reader(arguments[1]))
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: read_fields(hint, value) if isinstance(value, Mapping) else None
    return _number if hint is float else lambda value: value if type(value) is hint else None


def _sequence_reader(read: Read) -> Read:
    def read_all(value: Any) -> Any:
        if not isinstance(value, list):
            return None
        return tuple(item for item in map(read, value) if item is not None)

    return read_all


def _mapping_reader(read: Read) -> Read:
    def read_all(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        return {name: item for name, each in value.items() if (item := read(each)) is not None}

    return read_all
