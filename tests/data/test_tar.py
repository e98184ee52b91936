"""Archives: what systems leave behind never counts, links lead somewhere, splits are recognised, tars of tars are read."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from tleg.data.datasets import Wanted, class_counts
from tleg.data.open import open_data
from tleg.data.tar import natural_key
from tleg.errors import DataError


def picture(colour: int, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(content, kind)
    return content.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def link(archive: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    archive.addfile(member)


def make(file: Path, names: dict[str, int], **more: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for folder, count in names.items():
            for index in range(count):
                add(archive, f"{folder}/{index}.png", picture(10 * index))
        for name, content in more.items():
            add(archive, name, content)
    return file


def test_hidden_members_and_other_files_never_count(tmp_path: Path) -> None:
    file = tmp_path / "train.tar"
    with tarfile.open(file, "w") as archive:
        for name in ("cat", "dog"):
            for index in range(4):
                add(archive, f"./{name}/{index}.png", picture(index))
                add(archive, f"./{name}/._{index}.png", b"\0\5\x16\7")
                add(archive, f"./__MACOSX/{name}/._{index}.png", b"\0\5\x16\7")
            add(archive, f"{name}/.ipynb_checkpoints/0-checkpoint.png", picture(9))
            add(archive, f"{name}/Thumbs.db", b"x")
        add(archive, "stray.png", picture(1))
    data = open_data(f"tar:{file}", 0.25)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.validation)) == (6, 2)
    assert data.left_out == {
        "hidden files and folders": 18,
        "files that are no images (.db 2)": 2,
        "images beside the class folders": 1,
    }


def test_suffixes_are_those_of_folders(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for index, (suffix, kind) in enumerate([("webp", "WEBP"), ("BMP", "BMP"), ("jfif", "JPEG"), ("tif", "TIFF")] * 2):
            add(archive, f"{'cat' if index < 4 else 'dog'}/{index}.{suffix}", picture(40, kind))
    data = open_data(f"tar:{tmp_path / 'a.tar'}", 0.25)
    assert (len(data.train), len(data.validation)) == (6, 2)
    colour = data.train.image(0).convert("RGB").getpixel((0, 0))
    assert isinstance(colour, tuple)
    assert abs(colour[0] - 40) < 8


def test_links_in_an_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("cat", "dog"):
            add(archive, f"{name}/0.png", picture(70))
            link(archive, f"{name}/1.png", f"{name}/0.png", tarfile.LNKTYPE)
            link(archive, f"{name}/2.png", "0.png", tarfile.SYMTYPE)
            link(archive, f"{name}/3.png", "nowhere.png", tarfile.SYMTYPE)
            link(archive, f"{name}/4.png", "4.png", tarfile.SYMTYPE)
    data = open_data(f"tar:{tmp_path / 'a.tar'}", 0.25)
    assert len(data.train) + len(data.validation) == 6
    assert data.left_out == {"links to nothing": 4}
    assert {data.train.image(index).getpixel((0, 0)) for index in range(len(data.train))} == {(70, 0, 0)}


@pytest.mark.parametrize("above", ["", "photos/", "./set/"])
def test_one_archive_may_hold_the_splits(tmp_path: Path, above: str) -> None:
    file = make(
        tmp_path / "all.tar",
        {f"{above}Training/{name}": 4 for name in ("cat", "dog")} | {f"{above}Testing/{name}": 2 for name in ("cat", "dog")},
    )
    data = open_data(f"tar:{file}")
    assert (data.classes, len(data.train), len(data.validation), data.part) == (("cat", "dog"), 8, 4, "test")
    split = open_data(f"tar:{file}", 0.25)
    assert (split.classes, len(split.train), len(split.validation)) == (("cat", "dog"), 6, 2)
    tested = open_data(f"tar:{file}", wanted=Wanted(evaluation=True, split="test"))
    assert len(tested.validation) == 4


def test_archives_of_splits_in_any_case(tmp_path: Path) -> None:
    make(tmp_path / "Train.tar", {"cat": 3, "dog": 3})
    make(tmp_path / "VALID.tar", {"cat": 1})
    make(tmp_path / "test.tar", {"dog": 2})
    data = open_data(f"tar:{tmp_path}")
    assert (len(data.train), class_counts(data.validation, 2)) == (6, (1, 0))
    assert any("has no images of 1 of the 2 classes: dog" in note for note in data.notes)
    assert class_counts(open_data(f"tar:{tmp_path}", wanted=Wanted(evaluation=True, split="test")).validation, 2) == (0, 2)
    alone = open_data(f"tar:{tmp_path / 'test.tar'}", wanted=Wanted(evaluation=True, classes=("cat", "dog")))
    assert (class_counts(alone.validation, 2), alone.part) == ((0, 2), "test")


def test_a_tar_of_tars(tmp_path: Path) -> None:
    inner = {name: make(tmp_path / f"{name}.tar", {"x": count}).read_bytes() for name, count in (("n01", 3), ("n02", 2))}
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for name, content in inner.items():
            # ImageNet's hold images without folders.
            flat = io.BytesIO()
            with tarfile.open(fileobj=io.BytesIO(content)) as source, tarfile.open(fileobj=flat, mode="w") as target:
                for member in source:
                    file = source.extractfile(member)
                    assert file is not None
                    add(target, f"{name}_{Path(member.name).name}", file.read())
            add(archive, f"{name}.tar", flat.getvalue())
    data = open_data(f"tar:{tmp_path / 'all.tar'}", 0.4)
    assert data.classes == ("n01", "n02")
    assert (len(data.train), len(data.validation)) == (3, 2)
    whole = open_data(f"tar:{tmp_path / 'all.tar'}", wanted=Wanted(evaluation=True, classes=("n01", "n02")))
    names = [f"n01/n01_{index}.png" for index in range(3)] + [f"n02/n02_{index}.png" for index in range(2)]
    assert [whole.validation.name(index) for index in range(5)] == names
    assert [whole.validation.image(index).getpixel((0, 0)) for index in range(5)] == [
        (10 * (index % 3), 0, 0) for index in range(5)
    ]


def test_other_files_are_explained(tmp_path: Path) -> None:
    make(tmp_path / "a.tar", {"cat": 1, "dog": 1})
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.tar")
    with pytest.raises(DataError, match=r"b\.tar\.gz is compressed.*; gunzip it"):
        open_data(f"tar:{tmp_path / 'b.tar.gz'}", 0.5)
    (tmp_path / "c.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(DataError, match=r"c\.tar is no archive that can be read"):
        open_data(f"tar:{tmp_path / 'c.tar'}", 0.5)
    shutil.copyfile(tmp_path / "a.tar", tmp_path / "cut.tar")
    with (tmp_path / "cut.tar").open("r+b") as file:
        file.truncate(700)
    with pytest.raises(DataError, match="cut"):
        open_data(f"tar:{tmp_path / 'cut.tar'}", 0.5)


def test_natural_order() -> None:
    assert sorted(["10", "9", "a10", "a9", "B1"], key=natural_key) == ["9", "10", "a9", "a10", "B1"]
