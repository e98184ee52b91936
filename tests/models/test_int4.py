"""Matrices of blocks in 4 bits: how near they are, that they are exact from then on, and how they are packed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import LearngeneFactory, deterministic_values
from tleg.errors import FileFormatError
from tleg.learngene.container import read_file
from tleg.learngene.header import Compression
from tleg.models.int4 import block_of, pack, quantise_blocks, takes_4_bits, unpack
from tleg.models.learngene import Learngene, load
from tleg.models.rounding import rounded_tensors


def test_values_of_a_row_share_a_scale_in_blocks() -> None:
    assert [block_of(inputs) for inputs in (768, 192, 96, 48, 50)] == [64, 64, 32, 48, 50]
    assert takes_4_bits((2, 192, 64))
    assert not takes_4_bits((2, 192, 49))  # An odd row, which no bytes hold.
    assert not takes_4_bits((64, 3, 16, 16))


@given(seed=st.integers(0, 10**6), exponent=st.integers(-90, 90))
def test_rounding_is_near_and_rounding_again_changes_nothing(seed: int, exponent: int) -> None:
    values = np.ldexp(deterministic_values("values", (2, 5, 128), seed), exponent).astype(np.float32)
    values[0, 3] = 0
    found = quantise_blocks(values)
    assert found.scales.shape == (2, 5, 2)
    assert -8 <= found.values.min() <= found.values.max() <= 7
    again = found.floats()
    exact = found.values.astype(np.float64) * np.repeat(found.scales, 64, axis=-1).astype(np.float64)
    assert np.array_equal(again.astype(np.float64), exact)
    twice = quantise_blocks(again)
    assert np.array_equal(twice.values, found.values)
    assert np.array_equal(twice.scales, found.scales)
    # Nearer than with the scale by which the largest value is 7, which every reader of 4 bits would try.
    blocks = values.reshape(2, 5, 2, 64).astype(np.float64)
    steps = np.maximum(np.abs(blocks).max(axis=-1, keepdims=True), np.ldexp(1.0, -120)) / 7
    usual = np.rint(blocks / steps) * steps
    assert np.square(again.reshape(blocks.shape) - blocks).sum() <= np.square(usual - blocks).sum()


@pytest.mark.parametrize("exponent", range(-103, -96))
def test_values_that_are_next_to_nothing_are(exponent: int) -> None:
    values = np.ldexp(deterministic_values("values", (1, 4, 64)), exponent).astype(np.float32)
    found = quantise_blocks(values)
    again = quantise_blocks(found.floats())
    assert np.array_equal(again.scales, found.scales)
    assert np.array_equal(again.values, found.values)


@pytest.mark.parametrize("scale", [0.37109375, -0.37109375])
def test_values_of_few_sizes_are_kept_as_they_are(scale: float) -> None:
    values = np.resize(np.array([0, 3, -6, 6, 0, -3], np.float32) * np.float32(scale), (1, 2, 32)).astype(np.float32)
    found = quantise_blocks(values)
    assert np.array_equal(found.floats(), values)
    assert not np.signbit(found.floats()[values == 0]).any()


def test_parts_have_the_scales_of_their_blocks() -> None:
    whole = quantise_blocks(deterministic_values("matrix", (2, 12, 192))).transpose(0, 2, 1)
    assert whole.scales.shape == (2, 3, 12)
    # Of 48 rows, which the blocks of 64 are cut for.
    rows = np.concatenate([each.floats() for each in whole.split(4, 1)], axis=1)
    columns = np.concatenate([each.floats() for each in whole.split(3, -1)], axis=-1)
    assert np.array_equal(rows, whole.floats())
    assert np.array_equal(columns, whole.floats())
    assert np.array_equal(whole[1].floats(), whole.floats()[1])


def test_two_values_are_a_byte_the_first_in_its_low_half() -> None:
    assert pack(np.array([[-8, 7, 0, -1]], np.int8)).tolist() == [[0xF0, 0x78]]
    values = np.resize(np.arange(-8, 8, dtype=np.int8), (2, 3, 16))
    assert np.array_equal(unpack(pack(values)), values)


def test_a_file_in_4_bits_is_read_as_it_was_and_written_again_byte_by_byte(
    tiny_learngene: LearngeneFactory, tmp_path: Path
) -> None:
    path, original = tmp_path / "small.safetensors", tiny_learngene()
    small = Learngene(original.header, rounded_tensors(original.header.architecture, original.tensors, "int4")).with_header(
        compression=Compression("int4", original.hash())
    )
    small.save(path)
    file = read_file(path)
    assert file.header.version == 4
    assert {name: entry.shape for name, entry in file.tensors.items()} == {
        name: values.shape for name, values in original.tensors.items()
    }
    found = load(path)
    for name, values in small.tensors.items():
        assert np.array_equal(found.tensors[name], values), name
    found.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    import safetensors.numpy

    stored = safetensors.numpy.load_file(path)
    assert stored["blocks.attn.qkv.weight"].dtype == np.uint8
    assert stored["blocks.attn.qkv.weight"].shape == (2, 144, 24)
    assert stored["blocks.mlp.fc2.weight.scale"].shape == (2, 48, 3)
    assert stored["patch_embed.proj.weight"].dtype == np.int8
    content = path.read_bytes()
    for old, new, message in (
        (b'"dtype\\": \\"int4', b'"dtype\\": \\"int8', "is of type U8, and its header says nothing of it"),
        (b'"blocks.attn.qkv.weight.scale"', b'"blocks.attn.qkv.weight.skale"', "is of type U8 and has no scales"),
        (b'"shape":[2,48,3]', b'"shape":[2,72,2]', "are none for its shape"),
    ):
        assert old in content
        path.write_bytes(content.replace(old, new))
        with pytest.raises(FileFormatError, match=message):
            read_file(path)
