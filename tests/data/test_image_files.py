"""Which files of a folder are images: nothing hidden, everything that Pillow reads, links once, and all else is counted."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tleg.data.datasets import Wanted, class_counts
from tleg.data.image_files import NOT_READ, SUFFIXES, LeftOut, is_hidden, walk_images
from tleg.data.open import open_data
from tleg.errors import DataError


def picture(path: Path, colour: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (colour, 0, 0)).save(path)


def fill(folder: Path, names: dict[str, int]) -> Path:
    for name, count in names.items():
        for index in range(count):
            picture(folder / name / f"{index}.png", index)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "set" / "train", {"cat": 4, "dog": 3})
    fill(tmp_path / "set" / "val", {"cat": 2, "dog": 2})
    return tmp_path / "set"


def names(folder: Path) -> tuple[list[str], LeftOut]:
    left_out = LeftOut()
    return sorted(str(path.relative_to(folder)) for path in walk_images(folder, left_out)), left_out


def test_what_systems_leave_behind_never_counts(root: Path) -> None:
    whole = open_data(str(root))
    for split in ("train", "val"):
        for place in (root / split, root / split / "cat", root / split / "dog"):
            for folder in (
                ".ipynb_checkpoints",
                "__MACOSX",
                "__MACOSX/cat",
                "@eaDir",
                ".thumbs",
                "$RECYCLE.BIN",
                "lost+found",
            ):
                picture(place / folder / "x-checkpoint.png")
            for file in ("._0.png", ".hidden.jpg"):
                shutil.copy(root / split / "cat" / "0.png", place / file)
            for file in (".DS_Store", "Thumbs.db", "desktop.ini"):
                (place / file).write_bytes(b"\0\0\0\1Bud1")
    data = open_data(str(root))
    assert data.classes == ("cat", "dog")
    assert class_counts(data.train, 2) == (4, 3)
    assert [data.train.name(index) for index in range(7)] == [whole.train.name(index) for index in range(7)]
    # In each of three places of a split: six folders and three files that are hidden, and two that are no images.
    assert data.left_out == {"hidden files and folders": 2 * 3 * 9, "files that are no images (.db 3, .ini 3)": 12}
    assert f"left out of {root}/train: 27 hidden files and folders, 6 files that are no images (.db 3, .ini 3)" in data.notes


@pytest.mark.parametrize("name", ["__macosx", "__MACOSX", ".git", "._a.png", "@eaDir", "System Volume Information"])
def test_hidden_names(name: str) -> None:
    assert is_hidden(name)
    assert not is_hidden(name.strip("._@") + "s")


def test_every_suffix_that_pillow_reads_is_an_image_or_named_as_none() -> None:
    Image.init()
    read = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    assert read - SUFFIXES - NOT_READ == set()
    assert set() == SUFFIXES & NOT_READ


@pytest.mark.parametrize("suffix", [".jfif", ".JPG", ".jp2", ".bmp", ".tga", ".webp", ".qoi", ".PnG"])
def test_suffixes_in_any_case(root: Path, suffix: str) -> None:
    kind = {".jfif": "JPEG", ".jpg": "JPEG", ".jp2": "JPEG2000"}.get(suffix.lower())
    Image.new("RGB", (6, 5), (9, 9, 9)).save(root / "train" / "cat" / f"more{suffix}", format=kind)
    data = open_data(str(root))
    assert class_counts(data.train, 2) == (5, 3)
    assert data.train.image(4).convert("RGB").size == (6, 5)


def test_files_of_other_kinds_are_counted_by_suffix(root: Path) -> None:
    for file in ("a.heic", "b.HEIC", "labels.csv", "README", "c.txt", "d.mp4"):
        (root / "train" / "dog" / file).write_bytes(b"x")
    assert "6 files that are no images (.heic 2, no suffix 1, .csv 1, .mp4 1, …)" in open_data(str(root)).notes[0]


def test_links_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    cat = fill(tmp_path, {"cat/own": 2, "cat": 1, "elsewhere": 3}) / "cat"
    (cat / "more").symlink_to(tmp_path / "elsewhere")
    (cat / "again").symlink_to(tmp_path / "elsewhere")
    (cat / "aside").symlink_to(cat / "own")  # Met by its own path already.
    (cat / "up").symlink_to("..")
    (cat / "self").symlink_to("self")
    (cat / "a.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    (cat / "gone.png").symlink_to("/nonexistent/x.png")
    (tmp_path / "elsewhere" / "back").symlink_to(cat)
    found, left_out = names(cat)
    # `again` and `more` are one folder: the first by name counts.
    assert found == ["0.png", "a.png", "again/0.png", "again/1.png", "again/2.png", "own/0.png", "own/1.png"]
    assert (left_out.dead, left_out.again) == (2, 4)  # One leads to itself.


def test_links_beside_class_folders_that_lead_up_or_to_nothing_are_no_classes(root: Path) -> None:
    (root / "train" / "all").symlink_to("..")
    (root / "train" / "here").symlink_to(".")
    (root / "train" / "emu").symlink_to("/nonexistent/emu")
    (root / "again").symlink_to(".")
    (root / "train" / "cat" / "album").symlink_to("/nonexistent/album")
    data = open_data(str(root))
    assert (data.classes, class_counts(data.train, 2)) == (("cat", "dog"), (4, 3))
    assert data.left_out == {"links to nothing": 2, "links to folders that were met already": 2}
    assert len(open_data(str(root), 0.5).train) == 3


def test_class_folders_and_splits_may_be_links(root: Path) -> None:
    linked = root.parent / "linked"
    (linked / "train").mkdir(parents=True)
    for name in ("cat", "dog"):
        (linked / "train" / name).symlink_to(root / "train" / name)
    (linked / "val").symlink_to(root / "val")
    data = open_data(str(linked))
    assert (class_counts(data.train, 2), class_counts(data.validation, 2)) == ((4, 3), (2, 2))
    assert data.left_out == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_folder_that_may_not_be_opened_is_counted(root: Path) -> None:
    closed = root / "train" / "cat" / "closed"
    closed.mkdir()
    closed.chmod(0)
    assert "1 folder that may not be opened" in open_data(str(root)).notes[0]


def test_images_beside_the_class_folders_are_counted(root: Path) -> None:
    picture(root / "train" / "stray.png")
    data = open_data(str(root))
    assert len(data.train) == 7
    assert data.left_out == {"images beside the class folders": 1}
    assert data.notes == (f"left out of {root}/train: 1 image beside the class folders",)
    assert str(LeftOut(1, Counter({".db": 1}), 1, 1, 1)) == (
        "1 hidden file or folder, 1 file that is no image (.db 1), 1 link to nothing, "
        "1 link to a folder that was met already, 1 folder that may not be opened"
    )


def test_a_class_without_images_says_what_lies_there_instead(root: Path) -> None:
    for path in (root / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(
        DataError, match=r"train/dog holds no images; left out there: 3 files that are no images \(\.heic 3\)"
    ):
        open_data(str(root))


def test_evaluating_never_walks_the_training_images(root: Path) -> None:
    shutil.rmtree(root / "train" / "cat")
    (root / "train" / "cat").mkdir()
    assert len(open_data(str(root), wanted=Wanted(evaluation=True)).validation) == 4


def test_the_workbench_can_look_without_numpy() -> None:
    import subprocess

    code = "import sys, tleg.data.counting; print(sorted({'numpy', 'PIL', 'torch'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
