"""Image folders: classes from names, clear errors for what is missing."""

from pathlib import Path

import pytest
from PIL import Image

from tleg.data.open import open_data
from tleg.errors import DataError


def fill(folder: Path, names: dict[str, int], colour: int = 100) -> None:
    for name, count in names.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (10, 12), (colour, index, 0)).save(folder / name / f"{index}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "pets" / "train", {"dog": 3, "cat": 2})
    fill(tmp_path / "pets" / "val", {"cat": 1, "dog": 1})
    return tmp_path / "pets"


def test_classes_are_the_sorted_folder_names(root: Path) -> None:
    data = open_data(str(root))
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert [data.train.label(index) for index in range(len(data.train))] == [0, 0, 1, 1, 1]
    assert data.train.image(4).getpixel((0, 0)) == (100, 2, 0)
    assert len(data.validation) == 2
    assert data.image_size is None


def test_validation_may_lack_a_class_but_not_add_one(root: Path) -> None:
    fill(root / "train", {"emu": 1})
    assert open_data(str(root)).classes == ("cat", "dog", "emu")
    fill(root / "val", {"fox": 1})
    with pytest.raises(DataError, match="class 'fox'"):
        open_data(str(root))


def test_missing_split_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 1, "b": 1})
    with pytest.raises(DataError, match="train/ and val/"):
        open_data(str(tmp_path))


def test_empty_class_is_named(root: Path) -> None:
    for path in (root / "train" / "cat").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"train/cat holds no images"):
        open_data(str(root))


def test_one_class_is_too_few(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 1})
    fill(tmp_path / "val", {"a": 1})
    with pytest.raises(DataError, match="two or more classes"):
        open_data(str(tmp_path))


def test_unreadable_image_is_named(root: Path) -> None:
    (root / "train" / "cat" / "0.png").write_bytes(b"not a picture")
    data = open_data(str(root))
    with pytest.raises(DataError, match=r"cannot read the image .*cat/0\.png"):
        data.train.image(0)


@pytest.mark.parametrize("text", ["fashion-mnits", "no/such/folder", "fashion-mnist:"])
def test_unknown_data_is_explained(text: str) -> None:
    with pytest.raises(DataError, match="no folder and no known data set"):
        open_data(text)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(DataError, match="is a file"):
        open_data(str(tmp_path / "x.zip"))
