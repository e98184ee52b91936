"""Fashion-MNIST's files: read exactly, and refused in one line when they are not right."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.data.fashion_files import fill_fashion_mnist, idx
from tleg.data import fashion_mnist
from tleg.data.open import open_data
from tleg.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fill_fashion_mnist(tmp_path, train=30, validation=20)
    return tmp_path


def test_reads_packed_and_unpacked_files(folder: Path) -> None:
    data = open_data(f"fashion-mnist:{folder}")
    assert (len(data.train), len(data.validation)) == (30, 20)
    assert (data.channels, data.image_size, len(data.classes)) == (1, (28, 28), 10)
    expected = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    assert np.array_equal(np.asarray(data.train.image(7)), expected[7])
    assert [data.train.label(index) for index in range(12)] == [*range(10), 0, 1]


def test_system_package_has_the_published_counts_and_statistics() -> None:
    if fashion_mnist.locate() is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    data = open_data("fashion-mnist")
    assert (len(data.train), len(data.validation)) == (60_000, 10_000)
    pixels = data.train.images / 255  # type: ignore[attr-defined]
    assert pixels.mean() == pytest.approx(fashion_mnist.MEAN[0], abs=1e-4)
    assert pixels.std() == pytest.approx(fashion_mnist.STD[0], abs=1e-4)
    labels = data.train.labels  # type: ignore[attr-defined]
    assert np.bincount(labels).tolist() == [6000] * 10


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte\.gz"):
        open_data(f"fashion-mnist:{folder}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x08\x01" + b"\x00" * 100, "not an IDX file"),
        (struct.pack(">IIII", 0x803, 30, 28, 28) + b"\x00" * 100, "truncated"),
        (struct.pack(">IIII", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "truncated"),
    ],
)
def test_damaged_file_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=reason):
        open_data(f"fashion-mnist:{folder}")


def test_truncated_archive_is_refused(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="cannot read"):
        open_data(f"fashion-mnist:{folder}")


def test_images_and_labels_must_belong_together(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match="do not belong together"):
        open_data(f"fashion-mnist:{folder}")


def test_offline_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setenv("TLEG_DATA", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "absent")
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    with pytest.raises(DataError, match=r"no route to host.*dataset-fashion-mnist.*fashion-mnist:FOLDER"):
        open_data("fashion-mnist")


def test_earlier_download_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    raw = tmp_path / "store" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in folder.glob("*ubyte*"):
        (raw / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("TLEG_DATA", str(tmp_path / "store"))
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "absent")
    assert fashion_mnist.locate() == raw
    assert len(open_data("fashion-mnist").train) == 30
