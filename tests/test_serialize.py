"""Dataclasses to JSON and back: strict, with the place in every error."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import FileFormatError, InputError
from tleg.learngene.header import LearngeneHeader
from tleg.models.learngene import load
from tleg.serialize import decode, encode


@dataclass(frozen=True)
class Inner:
    kind: Literal["a", "b"]
    sizes: tuple[int, int]


@dataclass(frozen=True)
class Outer:
    number: float
    flag: bool
    inner: Inner | None = None
    names: tuple[str, ...] = ()
    table: Mapping[int, float] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)


VALID: dict[str, Any] = {
    "number": 1,
    "flag": True,
    "inner": {"kind": "a", "sizes": [1, 2]},
    "names": ["x"],
    "table": {"3": 0.5},
    "free": {"k": [None]},
}


def test_round_trip() -> None:
    value = decode(Outer, VALID, "it")
    assert value == Outer(1.0, True, Inner("a", (1, 2)), ("x",), {3: 0.5}, {"k": [None]})
    assert decode(Outer, json.loads(json.dumps(encode(value))), "it") == value


def test_defaults() -> None:
    assert decode(Outer, {"number": 0.5, "flag": False}, "it") == Outer(0.5, False)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"number": "1"}, r"it\.number"),
        ({"number": True}, r"it\.number"),
        ({"number": float("nan")}, r"it\.number"),
        ({"flag": 1}, r"it\.flag"),
        ({"inner": {"kind": "c", "sizes": [1, 2]}}, r"it\.inner\.kind"),
        ({"inner": {"kind": "a", "sizes": [1]}}, r"it\.inner\.sizes"),
        ({"inner": {"kind": "a", "sizes": [1, 2.0]}}, r"it\.inner\.sizes\[1\]"),
        ({"inner": {"kind": "a"}}, "sizes"),
        ({"inner": 3}, r"it\.inner"),
        ({"names": "x"}, r"it\.names"),
        ({"names": [1]}, r"it\.names\[0\]"),
        ({"table": {"x": 1}}, r"it\.table"),
        ({"table": {"1": "x"}}, r"it\.table\.1"),
        ({"table": [1]}, r"it\.table"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_every_difference_is_refused_by_its_place(change: dict[str, Any], place: str) -> None:
    with pytest.raises(FileFormatError, match=place):
        decode(Outer, {**VALID, **change}, "it")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(FileFormatError, match="lacks the field 'flag'"):
        decode(Outer, {"number": 1}, "it")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(json_values)
def test_any_document_is_decoded_or_refused(document: Any) -> None:
    for kind in (Outer, Inner, LearngeneHeader):
        with contextlib.suppress(FileFormatError):
            assert isinstance(decode(kind, document, "it"), kind)


@given(data=st.data())
def test_any_value_in_any_place_of_a_header_is_decoded_or_refused(data: st.DataObject, learngene_file: Any) -> None:
    document = encode(load(learngene_file).header)
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
        else:
            break
    place[key] = data.draw(json_values)
    with contextlib.suppress(InputError):
        assert isinstance(decode(LearngeneHeader, document, "header"), LearngeneHeader)
