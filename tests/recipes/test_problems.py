"""What is wrong with a recipe names the option that is wrong, whichever it is, and all of them at once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import CODES, InputError
from tleg.recipes.fields import Option, options_of
from tleg.recipes.io import find_problems, from_values
from tleg.recipes.recipes import RECIPES

COMPLETE: dict[str, dict[str, Any]] = {
    "learn": {"architecture": "vit_tiny_patch16_224", "data": "digits"},
    "train": {"model": "resnet18", "data": "digits"},
    "finetune": {"learngene": "g", "depth": 4, "data": "digits"},
}
# Texts that an option's own grammar refuses.
GRAMMAR: dict[str, tuple[Any, ...]] = {
    "auxiliary-depth": (0, -3, 1025),
    "basis": ("polynomal:2", "polynomial:x", "polynomial:0", "piecewise", ""),
    "depth": (0, -3, 1025),
    "device": ("gpu", "cuda:x", ""),
    "evaluate-depths": ("0-3", "4-x", "8-4", "2000"),
    "expand": ("legs", "mlp,legs", "mlp,mlp", ""),
    "freeze": ("blocks:x", "legs", "head,,stem"),
    "pixel-range": ("5,1", "1", "a,b", "nan,1"),
    "sample-depths": ("0,4", "x", "8-4", "2-2-6-2"),
    "threads": ("many", "0", "-1"),
}
_OF_OTHER_KINDS: dict[type, tuple[Any, ...]] = {
    bool: (1, "yes", 0.5),
    int: (1.5, "x", True, [1, 2]),
    float: ("x", True, [1.0]),
    str: (0.5, True, {"a": 1}),
    dict: (4, "a=1", [1]),
}


def wrong_values(each: Option) -> st.SearchStrategy[Any]:
    """Values that an option must not have: of another kind, out of range, not among the choices, against its grammar."""
    found: list[Any] = [*_OF_OTHER_KINDS[each.kind], *GRAMMAR.get(each.name, ())]
    numbers: st.SearchStrategy[Any] = st.nothing()
    if each.least is not None and each.most is not None:
        if each.kind is float:
            found += [float("nan"), float("inf"), float("-inf")]
            numbers = st.floats(max_value=each.least, exclude_max=True) | st.floats(min_value=each.most, exclude_min=True)
        else:
            numbers = st.integers(max_value=int(each.least) - 1) | st.integers(min_value=int(each.most) + 1)
    if each.choices:
        found += ["", *(f"{choice}x" for choice in each.choices)]
    if each.kind is dict:
        found += [{"a": float("nan")}, {"a": [1.0, float("inf")]}]
    if not each.optional:
        found.append(None)
    return st.sampled_from(found) | numbers


@st.composite
def recipes_with_one_fault(draw: st.DrawFn) -> tuple[str, dict[str, Any], str]:
    kind = draw(st.sampled_from(list(RECIPES)))
    each = draw(st.sampled_from(options_of(RECIPES[kind])))
    return kind, {**COMPLETE[kind], each.name: draw(wrong_values(each))}, each.name


@given(recipes_with_one_fault())
def test_whatever_is_wrong_is_named(recipe: tuple[str, dict[str, Any], str]) -> None:
    kind, values, name = recipe
    with pytest.raises(InputError) as caught:
        from_values(kind, values)
    assert caught.value.field == name, str(caught.value)
    assert caught.value.code in {"malformed", "out-of-range", "unknown-name"}


@given(st.data())
def test_all_that_is_wrong_is_found_at_once(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(RECIPES)))
    free = [each for each in options_of(RECIPES[kind]) if each.name not in COMPLETE[kind]]
    wrong = data.draw(st.lists(st.sampled_from(free), min_size=2, max_size=4, unique_by=lambda each: each.name))
    values = {**COMPLETE[kind], **{each.name: data.draw(wrong_values(each)) for each in wrong}}
    found = find_problems(kind, values)
    assert set(found) == {each.name for each in wrong}
    assert all(error.code in CODES and json.dumps(error.document) for error in found.values())


def test_nothing_is_wrong_with_what_is_complete() -> None:
    for kind, values in COMPLETE.items():
        assert find_problems(kind, values) == {}


@pytest.mark.parametrize(
    ("kind", "values", "fields", "code"),
    [
        ("learn", {"architecture": None}, ("architecture",), "malformed"),
        ("learn", {"epocs": 3}, ("epocs",), "unknown-name"),
        ("learn", {"warmup-epochs": 31.0}, ("warmup-epochs",), "out-of-range"),
        ("learn", {"batch-size": 63, "mixup": 0.1}, ("batch-size",), "out-of-range"),
        ("learn", {"accumulate": 3}, ("batch-size", "accumulate"), "out-of-range"),
        ("learn", {"devices": 3}, ("batch-size", "accumulate", "devices", "nodes"), "out-of-range"),
        ("learn", {"devices": 2, "nodes": 2, "batch-size": 12, "mixup": 1.0}, ("batch-size",), "out-of-range"),
        ("learn", {"device": "cuda:1", "devices": 2}, ("device", "devices"), "conflict"),
        ("learn", {"distillation": "hard"}, ("distillation", "teacher"), "missing"),
        ("learn", {"sampling": "sandwich", "sample-depths": "none"}, ("sampling", "sample-depths"), "missing"),
        ("learn", {"sample-depths": "4,6", "auxiliary-depth": 12}, ("auxiliary-depth", "sample-depths"), "conflict"),
        ("learn", {"result": "best", "evaluate-every": 0}, ("evaluate-every", "result"), "conflict"),
        ("train", {"checkpoint": "c"}, ("model", "checkpoint"), "conflict"),
        ("train", {"weights": "ema"}, ("weights", "checkpoint"), "conflict"),
        ("finetune", {"model": "resnet18"}, ("learngene", "model", "checkpoint"), "conflict"),
        ("finetune", {"pretrained": True}, ("pretrained", "model"), "conflict"),
        ("finetune", {"image-size": "32x"}, ("image-size",), "malformed"),
        ("finetune", {"image-size": 5000}, ("image-size",), "out-of-range"),
        ("finetune", {"model-arg": {"a": 1}}, ("model-arg", "learngene"), "conflict"),
        ("finetune", {"teacher": "t", "distillation": "token"}, ("distillation", "model"), "unsupported"),
    ],
)
def test_contradictions_name_all_that_they_are_about(
    kind: str, values: dict[str, Any], fields: tuple[str, ...], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        from_values(kind, {**COMPLETE[kind], **values})
    assert (caught.value.fields, caught.value.code) == (fields, code)


@pytest.mark.parametrize(
    ("kind", "values", "fields", "code"),
    [
        ("learn", {"data": "d"}, ("architecture",), "missing"),
        ("train", {"data": "d"}, ("model", "checkpoint"), "missing"),
        ("finetune", {"data": "d", "learngene": "g"}, ("depth", "learngene"), "missing"),
        ("finetune", {"data": "d", "model": "m", "depth": 3}, ("depth", "learngene"), "conflict"),
        ("finetune", {"data": "d", "model": "m", "init": "share"}, ("init", "learngene"), "conflict"),
        ("finetune", {"data": "d", "model": "m", "drop-path": 0.1}, ("drop-path", "learngene"), "conflict"),
    ],
)
def test_what_is_missing_is_named(kind: str, values: dict[str, Any], fields: tuple[str, ...], code: str) -> None:
    with pytest.raises(InputError) as caught:
        from_values(kind, values)
    assert (caught.value.fields, caught.value.code) == (fields, code)


def test_of_a_contradiction_what_was_given_is_found() -> None:
    values = {**COMPLETE["learn"], "accumulate": 3, "distillation": "hard", "lr": "fast"}
    assert set(find_problems("learn", values)) == {"accumulate", "distillation", "lr"}
    assert set(find_problems("learn", {"data": "d", "epochs": 0})) == {"architecture"}, "which is looked at first"
