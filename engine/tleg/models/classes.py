"""Class names of a model and of a data set, matched by name: `1, 2, 10` and `1, 10, 2` are the same classes."""

import unicodedata
from collections.abc import Sequence
from typing import Final

from tleg.errors import InputError

_MOST_NAMED: Final = 3


def class_order(known: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """Return, for each wanted class, the output of a model that knows it; None when the outputs are in that order already.

    known   the model's names in the order of its outputs; empty when it names none, which are then taken to be in order
    wanted  the data's names

    Names are compared as Unicode compares them (NFC), since archives store them in several forms. Raises InputError when the
    two are not the same classes, with those that differ.
    """
    mine, theirs = _normal(known), _normal(wanted)
    if not mine or mine == theirs:
        return None
    if set(mine) != set(theirs) or len(set(mine)) != len(mine) or len(mine) != len(theirs):
        raise InputError(_difference(known, wanted), code="mismatch")
    return tuple(mine.index(name) for name in theirs)


def same_classes(known: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a model knows a data set's classes, in whatever order. One that names none may."""
    try:
        class_order(known, wanted)
    except InputError:
        return False
    return True


def _normal(names: Sequence[str]) -> list[str]:
    return [unicodedata.normalize("NFC", name) for name in names]


def _difference(known: Sequence[str], wanted: Sequence[str]) -> str:
    """What one side has and the other has not."""
    mine, theirs = _normal(known), _normal(wanted)
    only_known = [name for name, each in zip(known, mine, strict=True) if each not in theirs]
    only_wanted = [name for name, each in zip(wanted, theirs, strict=True) if each not in mine]
    parts = [
        f"{whose} {_named(names)}"
        for whose, names in (("only the model knows", only_known), ("only the data has", only_wanted))
        if names
    ]
    return "; ".join(parts) if parts else "the model knows two classes of one name"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown
