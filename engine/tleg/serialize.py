"""Frozen dataclasses to JSON and back, strictly.

The type annotations of a dataclass are its schema: a missing field without a default, an unknown one, or a value of another
type is a FileFormatError that names the place. Standard library only, because previews decode headers and must start fast.
"""

import json
import math
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tleg.errors import FileFormatError

T = TypeVar("T")
# Metadata of a field that documents of before it lack, and that means another thing there than its default.
_ABSENT: Final = "absent"
ABSENT_IS_FALSE: Final = types.MappingProxyType({_ABSENT: False})
# Metadata of a field that is written where it says something alone, so that what says nothing stays as it was.
_SPARE: Final = "spare"
LEFT_OUT_WHEN_NONE: Final = types.MappingProxyType({_SPARE: True})
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def encode(value: Any) -> Any:
    """Return dataclasses, tuples and mappings as JSON values. Keys of mappings become strings."""
    if is_dataclass(value):
        values = {item: getattr(value, item.name) for item in fields(value)}
        return {item.name: encode(each) for item, each in values.items() if each is not None or _SPARE not in item.metadata}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], document: object, where: str) -> T:
    """Return `document` as an instance of the dataclass `kind`. `where` names it in errors (FileFormatError)."""
    result: T = _decode(kind, document, where)
    return result


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, value: object, where: str) -> Any:
    if kind is Any or kind is object:
        return value
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        # The type matters as well: True == 1 and 1.0 == 1.
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        raise FileFormatError(f"{where} must be one of {', '.join(map(str, arguments))}, not {_short(value)}")
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        return _decode(next(choice for choice in arguments if choice is not types.NoneType), value, where)
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    if origin in (dict, Mapping) or kind is dict:
        return _decode_mapping(arguments, value, where)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise FileFormatError(f"{where} must be {_names[kind]}, not {_short(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise FileFormatError(f"{where} must be a finite number, not {value}")
    return value


_names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _decode_dataclass(kind: Any, value: object, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise FileFormatError(f"{where} must be an object, not {_short(value)}")
    known = {item.name: item for item in fields(kind)}
    for name in value:
        if name not in known:
            raise FileFormatError(f"{where} has an unknown field '{name}'")
    arguments = {}
    for name, item in known.items():
        if name in value:
            arguments[name] = _decode(_hints(kind)[name], value[name], f"{where}.{name}")
        elif _ABSENT in item.metadata:
            arguments[name] = item.metadata[_ABSENT]
        elif item.default is MISSING and item.default_factory is MISSING:
            raise FileFormatError(f"{where} lacks the field '{name}'")
    return kind(**arguments)


def _decode_tuple(arguments: tuple[Any, ...], value: object, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise FileFormatError(f"{where} must be a list, not {_short(value)}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds: tuple[Any, ...] = (arguments[0],) * len(value)
    else:
        kinds = arguments
        if len(value) != len(kinds):
            raise FileFormatError(f"{where} must hold {len(kinds)} values, not {len(value)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(_decode(kind, item, f"{where}[{index}]") for index, (kind, item) in pairs)


def _decode_mapping(arguments: tuple[Any, ...], value: object, where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise FileFormatError(f"{where} must be an object, not {_short(value)}")
    key_kind, value_kind = arguments or (str, object)
    result: dict[Any, Any] = {}
    for key, item in value.items():
        if key_kind is int:
            if not (isinstance(key, str) and key.isascii() and key.isdigit()):
                raise FileFormatError(f"{where} must have whole numbers as keys, not {_short(key)}")
            result[int(key)] = _decode(value_kind, item, f"{where}.{key}")
        else:
            result[str(key)] = _decode(value_kind, item, f"{where}.{key}")
    return result


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def to_json(value: Any) -> str:
    """Return one line of ASCII, so that no cut ever divides a character.

    A number that is not finite becomes null, numpy's and torch's scalars become numbers, and what JSON has no value for
    becomes its text.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps(to_plain(value), separators=(",", ":"))


def to_plain(value: Any) -> Any:
    """Return a value as JSON has it: null for a number that is not finite."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    item = getattr(value, "item", None)
    if callable(item):
        with suppress(TypeError, ValueError, RuntimeError):
            return to_plain(item())
    return str(value)
