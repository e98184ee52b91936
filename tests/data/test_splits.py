"""Splits by the names that people give their folders, and what is evaluated."""

import shutil
from pathlib import Path

import pytest

from tests.data.test_image_files import fill, picture
from tleg.data.datasets import Wanted, class_counts
from tleg.data.open import open_data
from tleg.data.splits import find_splits, split_of
from tleg.errors import DataError

EVALUATION = Wanted(evaluation=True)


def make(root: Path, **splits: int) -> Path:
    for name, count in splits.items():
        fill(root / name, {"cat": count, "dog": count})
    return root


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING", "training"])
@pytest.mark.parametrize(
    ("held_out", "part"),
    [
        *((name, "validation") for name in ("val", "Valid", "Validation", "eval", "VAL")),
        *((name, "test") for name in ("test", "Testing", "TEST")),
    ],
)
def test_the_usual_names_in_any_case(tmp_path: Path, train: str, held_out: str, part: str) -> None:
    data = open_data(str(make(tmp_path, **{train: 4, held_out: 2})))
    assert (data.classes, len(data.train), len(data.validation), data.part) == (("cat", "dog"), 8, 4, part)
    split = open_data(str(tmp_path), 0.25)
    assert (split.classes, len(split.train), len(split.validation), split.part) == (("cat", "dog"), 6, 2, "validation")


def test_validation_comes_before_test_and_the_lower_case_name_first(tmp_path: Path) -> None:
    make(tmp_path, train=4, Train=7, test=1, valid=2, Val=3)
    found = find_splits(tmp_path)
    assert [path.name for path in (found.train, found.val, found.test) if path] == ["train", "Val", "test"]
    assert found.others == ("Train", "valid")
    assert any("left out of" in note and "Train, valid" in note for note in open_data(str(tmp_path)).notes)


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    fill(tmp_path, {"bus": 4, "car": 4, "train": 4})
    data = open_data(str(tmp_path), 0.5)
    assert data.classes == ("bus", "car", "train")
    assert f"the folder {tmp_path}/train is taken for a class, not for a split" in data.notes
    fill(tmp_path / "two", {"control": 2, "test": 2})
    assert open_data(str(tmp_path / "two"), 0.5).classes == ("control", "test")


def test_nothing_two_levels_down_becomes_a_class_silently(tmp_path: Path) -> None:
    make(tmp_path / "photos", train=4, val=2)
    for split in (None, 0.25):
        with pytest.raises(DataError, match=f"{tmp_path}/photos holds such folders"):
            open_data(str(tmp_path), split)
    with pytest.raises(DataError, match=f"{tmp_path}/photos holds such folders"):
        open_data(str(tmp_path), wanted=EVALUATION)
    fill(tmp_path / "years", {"2019/cat": 2, "2019/dog": 2, "2020/cat": 2})
    data = open_data(str(tmp_path / "years"), 0.5)
    assert data.classes == ("2019", "2020")
    assert any("the images of 2019, 2020 lie in folders inside the class folder" in note for note in data.notes)


def test_a_split_without_class_folders_is_named(tmp_path: Path) -> None:
    make(tmp_path, train=4)
    picture(tmp_path / "val" / "cat_0.png")
    with pytest.raises(DataError, match="val/ holds no class folders"):
        open_data(str(tmp_path))


def test_each_split_can_be_evaluated(tmp_path: Path) -> None:
    make(tmp_path, train=4, val=2, test=3)
    found = {
        split: open_data(str(tmp_path), wanted=Wanted(evaluation=True, split=split)) for split in ("train", "val", "test")
    }
    assert {split: len(data.validation) for split, data in found.items()} == {"train": 8, "val": 4, "test": 6}
    assert {split: data.part for split, data in found.items()} == {"train": "training", "val": "validation", "test": "test"}
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(DataError, match="has no test images by that name; it has train/, val/"):
        open_data(str(tmp_path), wanted=Wanted(evaluation=True, split="test"))


def test_a_folder_with_one_split_alone_is_evaluated(tmp_path: Path) -> None:
    make(tmp_path, train=4, test=3)
    alone = open_data(str(tmp_path / "test"), wanted=EVALUATION)
    assert (alone.classes, len(alone.validation), alone.part) == (("cat", "dog"), 6, "test")
    shutil.rmtree(tmp_path / "train")
    assert len(open_data(str(tmp_path), wanted=EVALUATION).validation) == 6
    # The model knows more classes, in an order of its own.
    shutil.rmtree(tmp_path / "test" / "cat")
    one = open_data(str(tmp_path / "test"), wanted=Wanted(evaluation=True, classes=("emu", "dog", "cat")))
    assert (one.classes, class_counts(one.validation, 3)) == (("emu", "dog", "cat"), (0, 3, 0))


def test_training_images_alone_are_not_evaluated_unasked(tmp_path: Path) -> None:
    make(tmp_path, train=4)
    with pytest.raises(DataError, match="holds training images alone; --split train evaluates on those"):
        open_data(str(tmp_path), wanted=EVALUATION)
    assert len(open_data(str(tmp_path), wanted=Wanted(evaluation=True, split="train")).validation) == 8


def test_validation_of_one_class_or_with_an_empty_one_is_taken_with_a_word(tmp_path: Path) -> None:
    make(tmp_path, train=4, val=2)
    for path in (tmp_path / "val" / "cat").iterdir():
        path.unlink()
    data = open_data(str(tmp_path))
    assert class_counts(data.validation, 2) == (0, 2)
    assert f"{tmp_path}/val has no images of 1 of the 2 classes: cat" in data.notes
    (tmp_path / "val" / "cat").rmdir()
    assert open_data(str(tmp_path)).notes == data.notes
    shutil.rmtree(tmp_path / "val" / "dog")
    (tmp_path / "val" / "cat").mkdir()
    with pytest.raises(DataError, match="val holds no images"):
        open_data(str(tmp_path))


@pytest.mark.parametrize("other", ["Dog", "dog "])
def test_a_class_in_another_spelling_is_named(tmp_path: Path, other: str) -> None:
    make(tmp_path, train=4, val=2)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / other)
    with pytest.raises(DataError, match=f"has the class '{other}', which is none of the classes. Did you mean 'dog'"):
        open_data(str(tmp_path))


def test_names_of_splits() -> None:
    assert [split_of(name) for name in ("TRAIN", "Testing", "eval", "trains", "val2")] == [
        "train",
        "test",
        "val",
        None,
        None,
    ]
