"""Policies of cascades: how depths are typed, what is refused, which policy is of which depths."""

from typing import Any

import pytest

from tleg.errors import FileFormatError, InputError
from tleg.learngene.cascade import CascadePolicy, parse_cascade, policies_in, policy_for
from tleg.serialize import encode


def made(**changes: Any) -> CascadePolicy:
    known: dict[str, Any] = {"depths": (3, 8), "threshold": 0.9, "temperatures": (0.7, 0.75), "max_drop": 0.1}
    known |= {"data": "pets validation", "images": 50, "seed": 3, "num_classes": 7, "image_size": (28, 28)}
    return CascadePolicy(**{**known, **changes})


@pytest.mark.parametrize(("text", "depths"), [("3,8", (3, 8)), (" 3, 5 ,12", (3, 5, 12))])
def test_depths_are_typed_with_commas(text: str, depths: tuple[int, ...]) -> None:
    assert parse_cascade(text) == depths


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8", "a cascade has two depths or more, as in 3,8, not '8'"),
        ("", "cannot read '' as a depth"),
        ("8,3", "from the shallowest to the deepest, each once: 3,8, not 8,3"),
        ("3,3,8", "each once: 3,8, not 3,3,8"),
        ("3-8", "cannot read '3-8' as a depth"),
        ("3,2-2-6-2", "one number, as in 3,8, not 2-2-6-2"),
        ("0,8", "depth"),
        ("3,eight", "cannot read 'eight' as a depth"),
    ],
)
def test_what_is_no_cascade_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_cascade(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"depths": (8, 3)}, "from the shallowest to the deepest"),
        ({"depths": (3,), "temperatures": (1.0,)}, "two depths or more"),
        ({"depths": (0, 3)}, "two depths or more"),
        ({"threshold": 1.5}, "between 0 and 1, not 1.5"),
        ({"temperatures": (0.7,)}, "one temperature for each depth"),
        ({"temperatures": (0.7, 0.0)}, r"lies between 0\.01 and 100"),
    ],
)
def test_what_is_no_policy_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(FileFormatError, match=words):
        made(**changes)


def test_the_record_holds_one_for_each_list_of_depths() -> None:
    other = made(depths=(2, 5, 9), temperatures=(1.0, 1.1, 1.2))
    record = {"cascades": encode((made(), other))}
    assert policies_in(record) == (made(), other)
    assert policy_for(record, [2, 5, 9]) == other
    assert policy_for(record, (3, 9)) is None
    assert policies_in({}) == ()
    assert str(other) == "from a probability of 0.9 on, chosen on 50 images of pets validation"
    assert not other.fits(7, (28, 29))
    for damaged, words in (({"depths": [3, 8]}, "must be a list"), ([{"depths": [3, 8]}], r"cascades\[0\] lacks the field")):
        with pytest.raises(FileFormatError, match=words):
            policies_in({"cascades": damaged})
