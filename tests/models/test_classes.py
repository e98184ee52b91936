"""Classes of a model and of a data set are matched by name."""

import unicodedata
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import InputError
from tleg.models.classes import class_order, same_classes


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=12, unique=True), st.randoms())
def test_the_order_gives_the_wanted_names(names: list[str], random: Random) -> None:
    composed = {unicodedata.normalize("NFC", name) for name in names}
    if len(composed) != len(names):
        return
    wanted = names.copy()
    random.shuffle(wanted)
    order = class_order(names, wanted)
    assert wanted == names if order is None else [names[index] for index in order] == wanted


def test_numbers_as_folders_sort_them() -> None:
    assert class_order(("1", "2", "10"), ("1", "10", "2")) == (0, 2, 1)
    assert class_order(("1", "10", "2"), ("1", "10", "2")) is None
    assert class_order((), ("a", "b")) is None


def test_the_same_letters_in_two_forms_are_one_name() -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert class_order((composed, "tea"), ("tea", apart)) == (1, 0)
    assert same_classes((composed,), (apart,))


@pytest.mark.parametrize(
    ("known", "wanted", "message"),
    [
        (("a", "b"), ("a", "c"), "only the model knows 'b'; only the data has 'c'"),
        (("a", "b"), ("a",), "only the model knows 'b'"),
        (("a",), ("a", "B", "C", "D", "E"), "only the data has 'B', 'C', 'D' and 1 more"),
        (("a", "a"), ("a", "a2"), "only the data has 'a2'"),
    ],
)
def test_differences_are_named(known: tuple[str, ...], wanted: tuple[str, ...], message: str) -> None:
    assert not same_classes(known, wanted)
    with pytest.raises(InputError, match=message):
        class_order(known, wanted)
