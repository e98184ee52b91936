"""What a run notes of that on which it depends, and how it tells what changed."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.runs.inputs import (
    ChangedInputsError,
    ClassListing,
    DataListing,
    InputChange,
    ModelListing,
    RunInputs,
    SplitListing,
    check_unchanged,
    compare_data,
    compare_models,
    read_inputs,
    write_inputs,
)
from tleg.runs.run import RunFolder

FORM = {"channels": 1, "image_size": [8, 8], "mean": None, "std": None}


def split(**counts: int) -> SplitListing:
    return SplitListing(tuple(ClassListing(count, f"{name}{count}") for name, count in counts.items()), str(sorted(counts)))


def data(divided: bool = False, **counts: int) -> DataListing:
    return DataListing(tuple(counts), FORM, split(**counts), split(**dict.fromkeys(counts, 2)), divided)


def told(before: DataListing, now: DataListing) -> list[tuple[str, bool]]:
    return [(each.text, each.acceptable) for each in compare_data(before, now)]


BEFORE = data(cat=5, dog=6, eel=7)


def test_the_same_data_has_not_changed() -> None:
    assert told(BEFORE, data(cat=5, dog=6, eel=7)) == []


@pytest.mark.parametrize(
    ("now", "words", "acceptable"),
    [
        (data(cat=8, dog=6, eel=7), "3 training images more (in 'cat')", True),
        (data(cat=5, dog=5, eel=7), "1 training image fewer (in 'dog')", True),
        (data(cat=6, dog=3, eel=7), "1 training image more and 3 training images fewer (in 'cat', 'dog')", True),
        (data(cat=5, dog=6, eel=7, fox=4), "the class 'fox' is new", False),
        (data(cat=5, dog=6, eel=7, fox=4, gnu=3), "the classes 'fox', 'gnu' are new", False),
        (data(cat=5, dog=6), "the class 'eel' is gone", False),
        (data(dog=6, eel=7, cat=5), "the classes have another order: number 1 is 'dog' and was 'cat'", False),
    ],
)
def test_what_is_different(now: DataListing, words: str, acceptable: bool) -> None:
    assert told(BEFORE, now) == [(words, acceptable)]


def test_a_class_that_is_called_otherwise_is_known_by_its_images() -> None:
    now = replace(
        BEFORE,
        classes=("dog", "eel", "kitten"),
        training=SplitListing((*BEFORE.training.classes[1:], BEFORE.training.classes[0]), "x"),
    )
    assert told(BEFORE, now) == [("the class 'cat' is called 'kitten' now", False)]
    # Also when images came or went at the same time, if it is the only one.
    other = replace(now, training=SplitListing((*BEFORE.training.classes[1:], ClassListing(9, "?")), "x"))
    assert told(BEFORE, other) == [("the class 'cat' is called 'kitten' now", False)]


def test_classes_that_changed_places_are_no_other_images() -> None:
    first, second, third = BEFORE.training.classes
    now = replace(BEFORE, training=SplitListing((second, first, third), BEFORE.training.digest))
    assert told(BEFORE, now) == [("the images of 'cat', 'dog' are those of another class", False)]


def test_other_images_under_as_many_names() -> None:
    listed = (ClassListing(5, "?"), *BEFORE.training.classes[1:])
    now = replace(BEFORE, training=replace(BEFORE.training, classes=listed))
    assert told(BEFORE, now) == [("as many training images, but others in 'cat'", True)]
    pixels = replace(BEFORE, validation=replace(BEFORE.validation, digest="other pixels"))
    assert told(BEFORE, pixels) == [("as many validation images, but others", True)]


def test_a_part_that_is_drawn_is_never_drawn_anew() -> None:
    changes = told(data(divided=True, cat=5, dog=6), data(divided=True, cat=6, dog=6))
    assert [acceptable for _, acceptable in changes] == [False, False]
    assert changes[1][0].startswith("the validation images would be drawn anew")


def test_images_of_another_form() -> None:
    now = replace(BEFORE, form={**FORM, "channels": 3, "image_size": (16, 16)})
    assert told(BEFORE, now) == [("its images have channels 3 instead of 1, image size 16x16 instead of 8x8", False)]


def test_models() -> None:
    gene = ModelListing("learngene", "g.safetensors", "/g.safetensors", "w", "f")
    teacher = ModelListing("teacher", "levit", None, "t", "")
    assert list(compare_models([gene, teacher], [gene, teacher])) == []
    assert list(compare_models([gene, teacher], [])) == [], "not all can be looked at everywhere"
    other = replace(gene, weights="v")
    assert list(compare_models([gene], [other])) == [InputChange("the learngene g.safetensors has other weights", True)]
    other = replace(gene, weights="v", form="h")
    assert list(compare_models([gene], [other])) == [
        InputChange("the learngene g.safetensors describes another model", False)
    ]


def test_what_is_accepted_and_what_never_is(run: RunFolder) -> None:
    images, classes = InputChange("3 images more", True), InputChange("the class 'x' is new", False)
    check_unchanged(run, [], accepted=False)
    check_unchanged(run, [images], accepted=True)
    with pytest.raises(
        ChangedInputsError, match=f"3 images more. `tleg resume {run.id} --accept-changed-data` goes on"
    ) as caught:
        check_unchanged(run, [images], accepted=False)
    assert caught.value.acceptable
    with pytest.raises(
        ChangedInputsError, match=rf"3 images more; the class 'x' is new\. Put it back .* --checkpoint {run.id}"
    ) as caught:
        check_unchanged(run, [images, classes], accepted=True)
    assert not caught.value.acceptable


@given(
    counts=st.dictionaries(st.text(max_size=5), st.integers(0, 2**40), min_size=2, max_size=5),
    threads=st.none() | st.integers(1, 999),
    accepted=st.booleans(),
)
def test_a_note_is_read_as_it_was_written(
    tmp_path: Path, counts: dict[str, int], threads: int | None, accepted: bool
) -> None:
    folder = RunFolder(tmp_path)
    model = ModelListing("teacher", "t\n\N{SNOWMAN}", None, "w", "f")
    inputs = RunInputs(threads=threads, epoch_images=7, data=data(False, **counts), models=(model,), accepted=accepted)
    write_inputs(folder, inputs)
    assert read_inputs(folder) == inputs


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"version": 2}', '{"version": 1, "more": 2}', '{"version": "1"}'])
def test_without_a_note_nothing_is_known(run: RunFolder, text: str | None) -> None:
    if text is not None:
        run.inputs_file.write_text(text)
    assert read_inputs(run) is None
