"""A batch is checked against the training images before anything starts, with the largest batch that fits."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_image_files import fill
from tests.data.test_tar import make as make_archive
from tleg.data.counting import check_batch, count_training_images
from tleg.data.open import open_data
from tleg.errors import DataError
from tleg.recipes.io import from_values
from tleg.recipes.training import Recipe, largest_batch, parts_of, too_few


def recipe(data: Path | str, **values: Any) -> Any:
    return from_values(
        "finetune", {"model": "resnet10t", "data": str(data), **{k.replace("_", "-"): v for k, v in values.items()}}
    )


@given(st.lists(st.integers(2, 40), min_size=2, max_size=5), st.floats(0.01, 0.9))
def test_as_many_are_counted_as_a_training_would_have(counts: list[int], part: float) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for label, count in enumerate(counts):
            place = Path(folder, "Training", str(label))
            place.mkdir(parents=True)
            for index in range(count):
                (place / f"{index}.png").touch()
            (place / "._0.png").touch()
        assert count_training_images(folder, part, 10**6) == len(open_data(folder, part).train)
        assert count_training_images(folder, None, 10**6) == sum(counts)
        assert (count_training_images(folder, None, 7) or 0) >= min(7, sum(counts))


def test_archives_and_known_sets_are_counted_and_others_are_not(tmp_path: Path) -> None:
    make_archive(tmp_path / "Train.tar", {"cat": 3, "dog": 2})
    assert count_training_images(f"tar:{tmp_path}", None, 100) == 5
    assert count_training_images(f"tar:{tmp_path / 'Train.tar'}", 0.4, 100) == 3
    assert count_training_images("Train.tar", None, 100, tmp_path) is None
    assert count_training_images("tar:Train.tar", 0.4, 100, tmp_path) == 3
    assert count_training_images("fashion-mnist", None, 10**6) == 60_000
    assert count_training_images("fashion-mnist", 0.1, 10**6) == 54_000
    for text in ("torch/cifar10", "hfds/x", str(tmp_path / "nothing"), "tar:nothing"):
        assert count_training_images(text, None, 100) is None


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ({}, 90),
        ({"accumulate": 4}, 88),
        ({"devices": 4}, 88),
        ({"devices": 4, "accumulate": 2, "mixup": 0.2}, 88),
        ({"mixup": 0.2, "devices": 4, "accumulate": 4}, 80),
        ({"validation_split": 0.5}, 45),
    ],
)
def test_a_batch_larger_than_the_images_is_refused_with_the_largest_that_fits(
    tmp_path: Path, values: dict[str, Any], largest: int
) -> None:
    fill(tmp_path, {"train/a": 30, "train/b": 30, "train/c": 30, "val/a": 1})
    images = 45 if "validation_split" in values else 90
    with pytest.raises(DataError) as caught:
        check_batch(recipe(tmp_path, batch_size=128, **values))
    assert str(caught.value) == (
        f"{images} training images are too few for a batch of 128; the largest batch-size that fits is {largest}"
    )
    check_batch(recipe(tmp_path, batch_size=largest, **values))
    check_batch(recipe(tmp_path.name, batch_size=largest, **values), tmp_path.parent)


@given(st.integers(1, 500), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_the_largest_batch_can_be_used(images: int, processes: int, accumulate: int, mixing: bool) -> None:
    largest = largest_batch(
        images, parts_of(Recipe(batch_size=16 * accumulate, accumulate=accumulate, mixup=float(mixing)), processes)
    )
    assert 0 <= largest <= images
    if largest:
        again = from_values(
            "finetune",
            {
                "model": "m",
                "data": "d",
                "batch-size": largest,
                "accumulate": accumulate,
                "devices": processes,
                "mixup": float(mixing),
            },
        )
        assert too_few(images, largest, parts_of(again.recipe, processes)) is None


def test_too_few_for_any_batch() -> None:
    assert too_few(3, 128, 4) == "3 training images are too few for a batch of 128; a batch must divide into 4 equal parts"
    assert "the largest batch-size that fits is 3" in (too_few(3, 128, 1) or "")
