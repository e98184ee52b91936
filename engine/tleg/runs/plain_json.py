"""JSON for what a trainer says about itself: it must never fail because a number is not finite."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


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
