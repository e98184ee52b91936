"""Validation images taken from the training images, and data sets by timm's names."""

import io
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tleg.data.datasets import Data
from tleg.data.fashion_mnist import SYSTEM_FOLDER, ArrayImages
from tleg.data.open import open_data, split
from tleg.data.timm_datasets import TimmImages
from tleg.errors import DataError


def some_data(labels: list[int]) -> Data:
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(2, 2)
    train = ArrayImages(images, np.array(labels, dtype=np.uint8))
    return Data("some", ("a", "b", "c"), train, ArrayImages(images[:0], train.labels[:0]), 1, (2, 2))


def numbers(images: Any) -> list[int]:
    return [images.image(index).getpixel((0, 0)) for index in range(len(images))]


@given(st.lists(st.integers(2, 30), min_size=3, max_size=3), st.floats(0.01, 0.9), st.integers(0, 9), st.randoms())
def test_every_class_is_split_alike(counts: list[int], part: float, seed: int, order: Any) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    order.shuffle(labels)
    found = split(some_data(labels), part, seed)
    assert sorted(numbers(found.train) + numbers(found.validation)) == list(range(len(labels)))
    for label, count in enumerate(counts):
        taken = [found.validation.label(index) for index in range(len(found.validation))].count(label)
        assert taken == min(count - 1, max(1, round(part * count)))
    again = split(some_data(labels), part, seed)
    assert numbers(again.validation) == numbers(found.validation)
    assert [labels[number] for number in numbers(found.validation)] == [
        found.validation.label(index) for index in range(len(found.validation))
    ]


def test_another_seed_takes_other_images() -> None:
    data = some_data([0] * 100 + [1] * 100)
    assert numbers(split(data, 0.2, 0).validation) != numbers(split(data, 0.2, 1).validation)


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="the class 'b' has one image alone, which cannot be split"):
        split(some_data([0, 0, 1]), 0.5, 0)


@pytest.mark.parametrize("part", [2, 1, 0, -1, float("nan"), float("inf")])
def test_what_is_no_part_is_refused(part: float) -> None:
    with pytest.raises(DataError, match="above 0 and below 1, not"):
        split(some_data([0] * 10), part, 0)


def test_figures_of_other_seeds_have_other_names() -> None:
    assert split(some_data([0] * 10), 0.3, 7).name == "some (split 0.3, seed 7)"


def test_its_own_validation_images_are_left_out_and_that_is_said() -> None:
    data = some_data([0] * 10)
    found = split(replace(data, validation=data.train), 0.3, 0)
    assert (len(found.train), len(found.validation)) == (7, 3)
    assert found.notes == ("the 10 validation images of some are left out; those of the split count",)
    assert found.name == "some (split 0.3)"


def write_images(folder: Path, classes: dict[str, int]) -> None:
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (4, 4), (index, 0, 0)).save(folder / name / f"{index}.png")


@pytest.mark.parametrize("inner", ["train", ""])
def test_a_folder_without_validation_images(tmp_path: Path, inner: str) -> None:
    write_images(tmp_path / "set" / inner, {"cat": 6, "dog": 4})
    with pytest.raises(DataError, match=r"--validation-split 0\.1 takes validation images from the training images"):
        open_data(str(tmp_path / "set"))
    data = open_data(str(tmp_path / "set"), 0.25, 0)
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.validation)) == (7, 3)
    assert data.train.name(0).endswith(".png")


def write_tar(file: Path, classes: dict[str, int]) -> None:
    with tarfile.open(file, "w") as archive:
        for name, count in classes.items():
            for index in range(count):
                content = io.BytesIO()
                Image.new("RGB", (4, 4), (10 * index, 0, 0)).save(content, "PNG")
                member = tarfile.TarInfo(f"{name}/{index}.png")
                member.size = content.tell()
                content.seek(0)
                archive.addfile(member, content)


# timm leaves archives open.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_archives(tmp_path: Path) -> None:
    write_tar(tmp_path / "train.tar", {"cat": 5, "dog": 3})
    write_tar(tmp_path / "val.tar", {"cat": 2, "dog": 1})
    data = open_data(f"tar:{tmp_path}")
    assert data.classes == ("cat", "dog")
    assert [data.train.label(index) for index in range(len(data.train))] == [0] * 5 + [1] * 3
    assert (len(data.validation), data.train.image(2).getpixel((0, 0))) == (3, (20, 0, 0))
    one = open_data(f"tar:{tmp_path / 'train.tar'}", 0.4, 0)
    assert (len(one.train), len(one.validation)) == (5, 3)
    with pytest.raises(DataError, match="is one archive: give --validation-split"):
        open_data(f"tar:{tmp_path / 'train.tar'}")
    with pytest.raises(DataError, match="there is no"):
        open_data("tar:nowhere.tar")


def test_images_of_sixteen_bits_keep_their_upper_eight() -> None:
    pixels = np.array([[0, 255, 256], [32768, 65535, 4660]], dtype=np.uint16)
    pair = (Image.fromarray(pixels), 0), (Image.fromarray(pixels.astype(np.float32)), 0)
    images = TimmImages(list(pair))
    assert np.asarray(images.image(0).convert("L")).tolist() == [[0, 0, 1], [128, 255, 18]]
    with pytest.raises(DataError, match=r"image 1: it holds floating-point values from 0 to 65535.* --pixel-range 0,65535"):
        images.image(1)


@pytest.mark.skipif(not SYSTEM_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_a_set_of_torchvisions(tmp_path: Path) -> None:
    import gzip

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in SYSTEM_FOLDER.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    data = open_data(f"torch/fashion_mnist:{tmp_path}")
    assert (len(data.train), len(data.validation), len(data.classes)) == (60000, 10000, 10)
    own = open_data("fashion-mnist")
    assert [data.train.label(index) for index in range(50)] == [own.train.label(index) for index in range(50)]
    assert data.train.image(7).convert("L").tobytes() == own.train.image(7).tobytes()
    assert data.classes[0].startswith("T-shirt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wds/imagenet", "timm reads wds/ as a stream, and a run that goes on exactly where it was needs images by number"),
        ("tfds/cifar10", "timm reads tfds/ as a stream"),
        ("hfids/imagenet", "use hfds/ instead of hfids/"),
        ("torch/cifar10:{here}", "when offline, give its folder: --data torch/cifar10:FOLDER"),
        ("torch/cifra10:{here}", "Did you mean 'torch/cifar10'"),
        ("hfds/mnist:{here}", "needs the package 'datasets': pip install datasets"),
        ("fashion-mnits", "Did you mean 'fashion-mnist'"),
    ],
)
def test_what_cannot_be_opened_says_what_to_do(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # as if it were not installed
    with pytest.raises(DataError) as caught:
        open_data(text.format(here=tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_of_hugging_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 0, 0)).save(content, "PNG")

    class Labels:
        names = ("cat", "dog")

    class Table:
        features: dict[str, Any] = {"label": Labels()}  # noqa: RUF012
        info: Any = None

        def __init__(self, labels: list[int]) -> None:
            self.labels = labels

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, key: Any) -> Any:
            return self.labels if key == "label" else {"image": {"bytes": content.getvalue()}, "label": self.labels[key]}

    class Reader:
        label_key = "label"

        def __init__(self, labels: list[int]) -> None:
            self.dataset = Table(labels)

        def __getitem__(self, index: int) -> Any:
            return io.BytesIO(content.getvalue()), self.dataset.labels[index]

    class Set:
        def __init__(self, labels: list[int]) -> None:
            self.reader = Reader(labels)

        def __len__(self) -> int:
            return len(self.reader.dataset)

    def create(name: str, root: str, split: str, download: bool) -> Set:
        assert (name, Path(root), download) == ("hfds/pets", tmp_path, False)
        return Set([0, 1, 1] if split == "train" else [1])

    import timm.data

    monkeypatch.setattr(timm.data, "create_dataset", create)
    data = open_data(f"hfds/pets:{tmp_path}")
    assert data.classes == ("cat", "dog")
    assert [data.train.label(index) for index in range(3)] == [0, 1, 1]
    assert data.validation.image(0).getpixel((0, 0)) == (9, 0, 0)
