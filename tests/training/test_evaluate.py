"""Which images are evaluated: what training held out, by its own record; and a word where a model has seen them."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.data.test_image_files import fill
from tleg.errors import InputError
from tleg.learngene.header import Preprocessing
from tleg.recipes.images import EvaluatedImages
from tleg.training.evaluate import TrainedOn, open_evaluation_data, trained_on

MODEL = Preprocessing((0.5,) * 3, (0.5,) * 3)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    fill(tmp_path / "pets", {"train/cat": 10, "train/dog": 10, "val/cat": 3, "val/dog": 3, "test/cat": 2, "test/dog": 2})
    return tmp_path / "pets"


def evaluated(data: Path, trained: TrainedOn | None = None, preprocessing: Preprocessing = MODEL, **options: Any) -> Any:
    split, seed = options.pop("validation_split", None), options.pop("seed", None)
    return open_evaluation_data(
        str(data),
        EvaluatedImages(**options),
        trained=trained,
        preprocessing=preprocessing,
        validation_split=split,
        seed=seed,
    )


def names(data: Any) -> list[str]:
    return [data.validation.name(index) for index in range(len(data.validation))]


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (
            {"data": "pets (split 0.2)", "validation_split": 0.2, "recipe": {"seed": 7}, "images": 16},
            TrainedOn("pets", 0.2, 7, 16),
        ),
        ({"data": "pets (split 0.05)", "recipe": {"seed": 3}}, TrainedOn("pets", 0.05, 3, None)),
        ({"data": "pets", "recipe": {"seed": 3}}, TrainedOn("pets", None, 3, None)),
        ({"data": "pets (split e)", "recipe": {"seed": 3}}, TrainedOn("pets", None, 3, None)),
        ({"data": "pets"}, None),
        ({"recipe": {"seed": 3}}, None),
        ({"data": 5, "recipe": {"seed": 3}}, None),
        ({"data": "pets", "recipe": {"seed": "3"}}, None),
        ({}, None),
    ],
)
def test_records_of_trainings(record: dict[str, Any], found: TrainedOn | None) -> None:
    assert trained_on(record) == found


def test_the_split_of_the_training_is_the_default(pets: Path) -> None:
    held_out = evaluated(pets, validation_split=0.2, seed=7)
    data = evaluated(pets, TrainedOn("pets", 0.2, 7, 16))
    assert names(data) == names(held_out)
    assert len(data.validation) == 4
    assert data.notes[0].startswith("evaluating on what training held out: validation split 0.2 with seed 7")
    # The seed of the record holds where the split alone is given; nothing was seen in training then.
    again = evaluated(pets, TrainedOn("pets", 0.2, 7, 16), validation_split=0.2)
    assert names(again) == names(data)
    assert not any("trained on" in note for note in again.notes)


def test_other_data_and_named_splits_are_left_alone(pets: Path) -> None:
    other = evaluated(pets, TrainedOn("birds", 0.2, 7, 16))
    assert len(other.validation) == 6
    assert len(evaluated(pets, TrainedOn("pets", 0.2, 7, 16), split="test").validation) == 4
    assert len(evaluated(pets / "test", TrainedOn("pets", 0.2, 7, 16)).validation) == 4
    assert len(evaluated(pets).validation) == 6


@pytest.mark.parametrize(
    ("trained", "options"),
    [
        (TrainedOn("pets", None, 0, 20), {"validation_split": 0.2}),
        (TrainedOn("pets", 0.2, 7, 16), {"validation_split": 0.2, "seed": 8}),
        (TrainedOn("pets", 0.2, 7, 16), {"validation_split": 0.4}),
    ],
)
def test_a_model_that_has_seen_the_images_is_told_of(pets: Path, trained: TrainedOn, options: dict[str, Any]) -> None:
    data = evaluated(pets, trained, **options)
    assert "so it has seen images that it is evaluated on now" in data.notes[0]


def test_training_images_are_told_of(pets: Path) -> None:
    for data in (evaluated(pets, split="train"), evaluated(pets / "train")):
        assert len(data.validation) == 20
        assert data.notes[0].startswith("these are training images")


def test_data_that_changed_since_is_told_of(pets: Path) -> None:
    shutil.copyfile(pets / "train" / "cat" / "0.png", pets / "train" / "cat" / "more.png")
    notes = evaluated(pets, TrainedOn("pets", 0.2, 7, 16)).notes
    assert any("training had 16 images, and the split leaves 17 now" in note for note in notes)


def test_two_wishes_at_once_are_refused(pets: Path) -> None:
    with pytest.raises(InputError, match="give one of them"):
        evaluated(pets, split="val", validation_split=0.1)


def test_images_that_lie_on_their_side_are_told_of_where_nobody_turns_them(pets: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for index in range(3):
        Image.new("RGB", (8, 6)).save(pets / "val" / "cat" / f"{index}.png", exif=exif)
    lying = Preprocessing((0.5,) * 3, (0.5,) * 3, exif=False)
    assert any("3 of 6 images are not stored upright" in note for note in evaluated(pets, preprocessing=lying).notes)
    assert evaluated(pets).notes == evaluated(pets, preprocessing=lying, exif=False).notes == ()


def test_the_range_of_the_training_holds(tmp_path: Path) -> None:
    fill(tmp_path, {"val/a": 1, "val/b": 1})
    trained = Preprocessing((0.5,) * 3, (0.5,) * 3, pixel_range=(0, 4095))
    assert evaluated(tmp_path, preprocessing=trained).pixel_range == (0, 4095)
    assert evaluated(tmp_path, preprocessing=trained, pixel_range="0,255").pixel_range == (0, 255)
    assert evaluated(tmp_path).pixel_range is None
