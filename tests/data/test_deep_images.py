"""Images of more than eight bits: one range for a data set, found, declared or given, and never silently black."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.data.test_image_files import fill
from tleg.data.datasets import Data, Wanted
from tleg.data.decoding import NO_RANGE, UnreadableImageError
from tleg.data.deep_images import PixelRange, PixelRanges, to_eight_bits
from tleg.data.image_folder import FolderImages
from tleg.data.open import open_data
from tleg.errors import DataError, InputError
from tleg.recipes.images import ImageReading, parse_pixel_range, write_pixel_range

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    assert image.mode == "L"
    return np.asarray(image)


def alone(path: Path) -> NDArray[np.uint8]:
    return pixels(FolderImages([path], [0]).image(0))


def png16(values: NDArray[np.integer[Any]], significant: int | None = None) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    bits = b"" if significant is None else chunk(b"sBIT", bytes([significant]))
    return b"\x89PNG\r\n\x1a\n" + head + bits + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff12(values: NDArray[np.uint16]) -> bytes:
    """A TIFF with BitsPerSample 12, two samples in three bytes."""
    flat = values.reshape(-1, 2).astype(np.uint32)
    packed = b"".join(struct.pack(">I", (int(a) << 12 | int(b)))[1:] for a, b in flat)
    height, width = values.shape
    offset = 8 + 2 + 12 * 9 + 4
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, offset), (277, 1), (278, height)]
    tags.append((279, len(packed)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + packed


@given(st.sampled_from([8, 10, 12, 14, 16]), st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_of_whole_numbers_the_upper_eight_bits_stay(bits: int, values: list[int]) -> None:
    array = np.array([values], dtype=np.uint16) >> (16 - bits)
    for dtype in (np.uint16, np.int32):
        small = to_eight_bits(Image.fromarray(array.astype(dtype)), PixelRanges(PixelRange(0, 2**bits - 1)))
        assert pixels(small).tolist() == (array >> (bits - 8)).tolist()


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.floats(-0.5, 1.5))
def test_of_other_ranges_low_is_black_and_high_white(low: float, width: float, part: float) -> None:
    value = np.float32(low + part * width)
    small = to_eight_bits(Image.fromarray(np.array([[value]])), PixelRanges(PixelRange(low, low + width)))
    expected = min(255.0, max(0.0, 255 * (float(value) - low) / width))
    assert abs(int(pixels(small)[0, 0]) - expected) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("grey16.png", RAMP.astype(np.uint16) * 257),
        ("grey12.png", RAMP.astype(np.uint16) * 257 >> 4),
        ("grey10.tif", RAMP.astype(np.uint16) * 257 >> 6),
        ("grey14.png", RAMP.astype(np.uint16) * 257 >> 2),
        ("int32.tif", RAMP.astype(np.int32)),
        ("int32_16.tif", RAMP.astype(np.int32) * 257),
        ("float.tif", RAMP.astype(np.float32) / 255),
    ],
)
def test_a_single_image_becomes_what_it_was(tmp_path: Path, name: str, values: NDArray[np.uint16]) -> None:
    Image.fromarray(values).save(tmp_path / name)
    assert np.array_equal(alone(tmp_path / name), RAMP)


def test_declared_bits_count_where_dark_values_would_fit_fewer(tmp_path: Path) -> None:
    dark = RAMP.astype(np.uint16) // 4  # 0 to 63: eight bits would hold them.
    (tmp_path / "sbit.png").write_bytes(png16(dark, 12))
    (tmp_path / "bits.tif").write_bytes(tiff12(dark))
    (tmp_path / "plain.png").write_bytes(png16(dark))
    assert np.array_equal(alone(tmp_path / "sbit.png"), dark >> 4)
    assert np.array_equal(alone(tmp_path / "bits.tif"), dark >> 4)
    assert np.array_equal(alone(tmp_path / "plain.png"), dark)


def test_significant_bits_of_full_scale_values_are_the_upper_ones(tmp_path: Path) -> None:
    # As the PNG standard asks: 12 bits shifted to the top of 16.
    (tmp_path / "a.png").write_bytes(png16(RAMP.astype(np.uint16) * 257 & 0xFFF0, 12))
    assert np.array_equal(alone(tmp_path / "a.png"), RAMP)


def make(root: Path, values: Mapping[str, NDArray[Any]], suffix: str = ".png") -> Path:
    for split in ("train", "val"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for name, array in values.items():
                Image.fromarray(array).save(root / split / label / f"{name}{suffix}")
    return root


def opened(root: Path, **reading: str) -> Data:
    return open_data(str(root), wanted=Wanted(ImageReading(pixel_range=reading.get("pixel_range"))))


def test_a_data_set_has_one_range_which_is_said_and_recorded(tmp_path: Path) -> None:
    bright, dark = RAMP.astype(np.uint16) * 16, RAMP.astype(np.uint16)
    data = opened(make(tmp_path, {"bright": bright, "dark": dark}))
    assert data.pixel_range == (0.0, 4095.0)
    assert any("the values 0 to 4095 of whole numbers of 16 bits become black to white" in note for note in data.notes)
    # The dark image of the validation set is dark: it follows the training images' range.
    assert np.array_equal(pixels(data.validation.image(1)), dark >> 4)


def test_a_range_that_is_given_holds(tmp_path: Path) -> None:
    data = opened(make(tmp_path, {"x": RAMP.astype(np.uint16) * 16}), pixel_range="0,1023")
    assert data.pixel_range == (0.0, 1023.0)
    assert data.notes == ()
    assert np.array_equal(pixels(data.train.image(0)), np.minimum(RAMP.astype(int) * 16 // 4, 255))


def test_values_without_a_range_are_refused_with_the_option(tmp_path: Path) -> None:
    make(tmp_path, {"x": RAMP.astype(np.float32) * 3 - 100}, ".tif")
    with pytest.raises(DataError, match=r"floating-point values from -100 to 665, as .*x\.tif does.*--pixel-range -100,665"):
        opened(tmp_path)
    assert pixels(opened(tmp_path, pixel_range="-100,665").train.image(0))[0, :3].tolist() == [0, 1, 2]


def test_negative_and_huge_whole_numbers_are_refused(tmp_path: Path) -> None:
    for name, array in (("low", RAMP.astype(np.int32) - 5), ("high", RAMP.astype(np.int32) * 70000)):
        make(tmp_path / name, {"x": array}, ".tif")
        with pytest.raises(DataError, match=r"whole numbers of 32 bits from .* give --pixel-range LOW,HIGH"):
            opened(tmp_path / name)


def test_kinds_of_files_have_ranges_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, {"x": RAMP.astype(np.uint16) * 257})
    for split in ("train", "val"):
        Image.fromarray(RAMP.astype(np.int32)).save(tmp_path / split / "a" / "y.tif")
    data = opened(tmp_path)
    assert data.pixel_range is None
    assert np.array_equal(pixels(data.train.image(0)), RAMP)
    assert np.array_equal(pixels(data.train.image(1)), RAMP)


def test_an_image_beyond_the_range_that_was_found_is_unreadable_and_says_so(tmp_path: Path) -> None:
    make(tmp_path, {"x": RAMP.astype(np.uint16)})
    Image.fromarray(RAMP.astype(np.uint16) * 16).save(tmp_path / "val" / "a" / "x.png")
    data = opened(tmp_path)
    with pytest.raises(UnreadableImageError, match="16 bits from 0 to 4080, beyond 0 to 255, found on others") as caught:
        data.validation.image(0)
    assert caught.value.reason == NO_RANGE


def test_images_of_eight_bits_need_no_range(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1})
    data = open_data(str(tmp_path))
    assert (data.pixel_range, data.notes[1:]) == (None, ())


@pytest.mark.parametrize("text", ["5", "4,3", "a,b", "0,inf", "1,2,3", "nan,1", ""])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="pixel-range must be LOW,HIGH"):
        ImageReading(pixel_range=text)


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_a_range_is_written_as_it_is_read(low: float, width: float) -> None:
    if low < low + width:
        assert parse_pixel_range(write_pixel_range((low, low + width))) == (low, low + width)
