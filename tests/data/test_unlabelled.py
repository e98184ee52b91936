"""Images without classes: which are found, and which are held out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tleg.data.open import open_data
from tleg.data.splits import held_out
from tleg.errors import DataError, InputError
from tleg.recipes.evaluation import Evaluation
from tleg.recipes.io import from_values
from tleg.recipes.learning import LearnRecipe


def heap(root: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(root / name)
    return root


def test_every_image_of_a_tree_counts_once_and_none_has_a_class(tmp_path: Path) -> None:
    heap(tmp_path, [f"{folder}{n}.png" for folder in ("", "cats/", "cats/deep/er/") for n in range(20)])
    heap(tmp_path, [".hidden/1.png", "__MACOSX/2.png"])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "again").symlink_to(tmp_path / "cats")
    data = open_data(f"unlabelled:{tmp_path}")
    names = [each.name(index) for each in (data.train, data.validation) for index in range(len(each))]
    assert len(names) == len(set(names)) == 60
    assert data.classes == ()
    assert {data.train.label(index) for index in range(len(data.train))} == {0}
    assert data.name == tmp_path.name
    assert sum(data.left_out.values()) == 5
    assert any("left out" in note for note in data.notes)


def test_a_moved_tree_is_divided_as_before(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(50)]
    first, second = (open_data(f"unlabelled:{heap(tmp_path / each, names)}") for each in ("a", "b"))
    found = [{Path(each.validation.name(index)).name for index in range(len(each.validation))} for each in (first, second)]
    assert found[0] == found[1] != set()


def test_a_validation_split_takes_its_own_part(tmp_path: Path) -> None:
    data = open_data(f"unlabelled:{heap(tmp_path, [f'{n}.png' for n in range(40)])}", 0.25, 3)
    assert (len(data.train), len(data.validation)) == (30, 10)
    assert data.validation_split == (0.25, 3)


@pytest.mark.parametrize(("count", "code"), [(0, "bad-data"), (1, "bad-data")])
def test_fewer_than_two_images_are_refused(tmp_path: Path, count: int, code: str) -> None:
    heap(tmp_path, [f"{n}.png" for n in range(count)])
    with pytest.raises(DataError, match=f"two images or more; it has {count}") as error:
        open_data(f"unlabelled:{tmp_path}")
    assert error.value.code == code


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder") as error:
        open_data(f"unlabelled:{tmp_path / 'absent'}")
    assert error.value.code == "not-found"


@given(names=st.sets(st.text("abcdef", min_size=1, max_size=6), min_size=2, max_size=80), extra=st.text("xyz", min_size=1))
def test_both_sides_have_images_and_others_change_nothing(names: set[str], extra: str) -> None:
    found = held_out(sorted(names))
    assert 0 < len(found) < len(names)
    assert found == held_out(sorted(names, reverse=True))
    more = held_out(sorted({*names, extra}))
    # But where one had to be taken because none would have been.
    assert len(found) == 1 or more - {extra} == found


def test_the_share_is_a_twentieth() -> None:
    assert 400 < len(held_out([f"{n}.jpg" for n in range(10_000)])) < 600


LEARN = {"architecture": "deit_tiny_patch16_224", "data": "unlabelled:heap"}


@pytest.mark.parametrize(
    ("kind", "values", "code", "field"),
    [
        ("learn", {}, "unsupported", "data"),
        ("learn", {"teacher": "t"}, "unsupported", "data"),
        ("learn", {"teacher": "t", "distillation": "feature"}, "unsupported", "data"),
        ("learn", {"distillation": "embedding"}, "missing", "distillation"),
        ("learn", {"teacher": "t", "distillation": "embedding", "mixup": 0.8}, "conflict", "mixup"),
        ("learn", {"teacher": "t", "distillation": "embedding", "cutmix": 1.0}, "conflict", "cutmix"),
        ("train", {"architecture": None, "model": "x"}, "unsupported", "data"),
        ("train", {"architecture": None, "model": "x", "teacher": "t", "distillation": "embedding"}, "unsupported", "data"),
        ("finetune", {"architecture": None, "checkpoint": "x"}, "unsupported", "data"),
    ],
)
def test_other_uses_are_refused_in_one_sentence(kind: Any, values: dict[str, object], code: str, field: str) -> None:
    given_values = {name: value for name, value in {**LEARN, **values}.items() if value is not None}
    with pytest.raises(InputError) as error:
        from_values(kind, given_values)
    assert (error.value.code, error.value.field) == (code, field)
    assert "\n" not in str(error.value)


def test_embedding_belongs_to_learning(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learns a learngene") as error:
        from_values("finetune", {"checkpoint": "x", "data": "pets", "teacher": "t", "distillation": "embedding"})
    assert (error.value.code, error.value.field) == ("unsupported", "distillation")
    assert isinstance(from_values("learn", {**LEARN, "teacher": "t", "distillation": "embedding"}), LearnRecipe)


def test_evaluation_needs_labels() -> None:
    with pytest.raises(InputError, match="has no labels to measure against") as error:
        Evaluation(data="unlabelled:heap")
    assert (error.value.code, error.value.field) == ("unsupported", "data")
