"""Counts, sizes and lists of depths as people type them."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import DepthError, InputError
from tleg.learngene.basis import MAX_DEPTH, parse_depths
from tleg.text import (
    MAX_IMAGE_SIDE,
    format_bytes,
    format_count,
    format_epochs,
    format_image_size,
    join_words,
    parse_bytes,
    parse_count,
    parse_image_size,
    read_image_size,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20M", 20_000_000),
        ("3G", 3 * 10**9),
        ("3b", 3 * 10**9),
        ("12.5k", 12_500),
        ("7", 7),
        (" 1 T ", 10**12),
        ("0.1M", 100_000),
    ],
)
def test_counts(text: str, value: int) -> None:
    assert parse_count(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50MB", 50_000_000),
        ("50M", 50_000_000),
        ("1.5GiB", 3 * 2**29),
        ("512", 512),
        ("512B", 512),
        ("1 kb", 1000),
        ("1KiB", 1024),
        ("2TB", 2 * 10**12),
        ("0.3GB", 300_000_000),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "M", "-3M", "1e6", "20 MBit", "3MM", "1,5G", "٣", ".5M", "1.", "nan", "inf", "9" * 40])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    for parse in (parse_count, parse_bytes):
        with pytest.raises(InputError):
            parse(text)


@given(st.tuples(*[st.integers(1, MAX_IMAGE_SIDE)] * 2))
def test_image_sizes_are_read_as_they_are_written(size: tuple[int, int]) -> None:
    assert parse_image_size(format_image_size(size)) == size
    assert read_image_size(size) == size


@pytest.mark.parametrize(
    ("given", "size"),
    [("160", (160, 160)), (" 128x256 ", (128, 256)), ("128 × 256", (128, 256)), (32, (32, 32)), (None, None)],
)
def test_image_sizes(given: str | int | None, size: tuple[int, int] | None) -> None:
    assert read_image_size(given) == size


@pytest.mark.parametrize("text", ["", "x", "160x", "160x160x3", "1.5", "-160", "0", "0x8", "4097", "8x99999", "160px"])
def test_what_is_no_image_size_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image_size(text)
    assert caught.value.field == "image-size"


@given(st.text(max_size=20))
def test_anything_is_a_quantity_or_an_error(text: str) -> None:
    for parse in (parse_count, parse_bytes, parse_depths, parse_image_size):
        with contextlib.suppress(InputError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "depths"),
    [
        ("8", (8,)),
        ("1-4", (1, 2, 3, 4)),
        ("12, 4,6-8 ,7", (4, 6, 7, 8, 12)),
        ("3-3", (3,)),
        ("1-1024", tuple(range(1, 1025))),
    ],
)
def test_depths(text: str, depths: tuple[int, ...]) -> None:
    assert parse_depths(text) == depths


@pytest.mark.parametrize("text", ["0", "0-3", f"1-{MAX_DEPTH + 1}", "999999999", "1-999999999"])
def test_depths_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(DepthError):
        parse_depths(text)


@pytest.mark.parametrize("text", ["", ",", "1,,2", "4-2", "-1", "1-", "a", "1..3", "1.5", "1000000000"])
def test_what_is_no_list_of_depths_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_depths(text)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (98_304, "98.3 kB"), (8_300_000, "8.3 MB"), (14 * 10**9, "14.0 GB")]
)
def test_sizes_are_written_in_the_unit_that_fits(value: int, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "size", "count"),
    [
        (0, "0 B", "0"),
        (999, "999 B", "999"),
        (999.6, "1.0 kB", "1.00 k"),
        (1000, "1.0 kB", "1.00 k"),
        (999_940, "999.9 kB", "999.94 k"),
        (999_960, "1.0 MB", "999.96 k"),
        (999_999, "1.0 MB", "1.00 M"),
        (-999_999, "-1.0 MB", "-1.00 M"),
        (5_717_032, "5.7 MB", "5.72 M"),
        (999_950_001, "1.0 GB", "999.95 M"),
        (999_999_999_999, "1.0 TB", "1.00 T"),
        (12_345 * 10**12, "12345.0 TB", "12345.00 T"),
    ],
)
def test_values_are_written_in_the_unit_that_they_fill(value: float, size: str, count: str) -> None:
    assert (format_bytes(value), format_count(value)) == (size, count)


@given(st.floats(-1e15, 1e15) | st.integers(-(10**15), 10**15))
def test_no_value_is_written_with_four_digits_and_a_unit_above_it(value: float) -> None:
    for text in (format_bytes(value), format_count(value)):
        number = float(text.partition(" ")[0])
        assert abs(number) < 1000 or text.endswith(("T", "TB"))


def test_words_are_listed_as_people_do() -> None:
    assert [join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
    assert join_words(["a", "b", "c"], "or") == "a, b or c"


def test_one_epoch_is_no_plural() -> None:
    assert [format_epochs(count) for count in (0, 1, 2, "1")] == ["0 epochs", "1 epoch", "2 epochs", "1 epoch"]
