"""Matrices in 8 bits: how far they are from what they were, that they are exact from then on, and which there are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import LearngeneFactory, deterministic_values
from tleg.errors import FileFormatError, VerificationError
from tleg.learngene.container import read_file
from tleg.learngene.header import Compression
from tleg.models.int8 import channel_axes, quantise
from tleg.models.learngene import Learngene, load
from tleg.models.quantised import QuantisedTensor
from tleg.models.rounding import quantise_tensors, rounded_tensors


@pytest.mark.parametrize(
    ("shape", "terms", "axes"),
    [
        ((2, 192, 64), True, (0, 1)),
        ((1, 192, 64), True, (0, 1)),
        ((3, 64, 8, 7, 7), True, (0, 1)),
        ((10, 192), False, (0,)),
        ((64, 3, 16, 16), False, (0,)),
        ((1, 197, 64), False, (1,)),
        ((2, 192), True, None),
        ((64,), False, None),
        ((2, 16, 16), True, None),  # Too small.
        ((2, 225, 12), True, None),  # Of short rows, such as a table of relative positions.
    ],
)
def test_large_matrices_have_a_scale_for_each_output_channel_of_each_term(
    shape: tuple[int, ...], terms: bool, axes: tuple[int, ...] | None
) -> None:
    assert channel_axes(shape, terms=terms) == axes


@given(seed=st.integers(0, 10**6), exponent=st.integers(-120, 120))
def test_rounding_is_by_half_a_step_and_rounding_again_changes_nothing(seed: int, exponent: int) -> None:
    values = np.ldexp(deterministic_values("values", (2, 5, 40), seed), exponent).astype(np.float32)
    values[0, 3] = 0
    found = quantise(values, (0, 1))
    assert found.scales.shape == (2, 5, 1)
    again = found.floats()
    if exponent > -60:
        assert (np.abs(again.astype(np.float64) - values) <= 0.5001 * found.scales).all()
    assert np.array_equal(again.astype(np.float64), found.values.astype(np.float64) * found.scales.astype(np.float64))
    twice = quantise(again, (0, 1))
    assert np.array_equal(twice.values, found.values)
    assert np.array_equal(twice.scales, found.scales)
    assert np.abs(found.values).max() <= 127


def test_parts_have_the_scales_of_their_channels() -> None:
    values = deterministic_values("matrix", (2, 12, 20))
    whole = quantise(values, (0, 1)).transpose(0, 2, 1)
    columns = np.concatenate([each.floats() for each in whole.split(3, -1)], axis=-1)
    rows = np.concatenate([each.floats() for each in whole.split(4, 1)], axis=1)
    assert np.array_equal(columns, whole.floats())
    assert np.array_equal(rows, whole.floats())
    assert np.array_equal(whole[1].floats(), whole.floats()[1])


def compressed(learngene: Learngene) -> Learngene:
    header = learngene.header
    return Learngene(header, rounded_tensors(header.architecture, learngene.tensors, "int8")).with_header(
        compression=Compression("int8", learngene.hash())
    )


def test_a_file_in_8_bits_is_read_as_it_was_and_written_again_byte_by_byte(
    tiny_learngene: LearngeneFactory, tmp_path: Path
) -> None:
    small, large = tmp_path / "small.safetensors", tmp_path / "large.safetensors"
    original = tiny_learngene()
    original.save(large)
    expected = compressed(original)
    expected.save(small)
    file = read_file(small)
    assert file.header.version == 3
    assert file.header.compression == Compression("int8", load(large).header.sha256)
    assert {name: entry.shape for name, entry in file.tensors.items()} == {
        name: values.shape for name, values in original.tensors.items()
    }
    found = load(small)
    for name, values in expected.tensors.items():
        assert np.array_equal(found.tensors[name], values), name
    matrices = sum(
        isinstance(each, QuantisedTensor)
        for each in quantise_tensors(found.header.architecture, found.tensors, "int8").values()
    )
    assert matrices == sum(entry.scales is not None for entry in file.tensors.values()) >= 5
    found.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == small.read_bytes()
    assert read_file(large).header.version == 1
    import safetensors.numpy

    stored = safetensors.numpy.load_file(small)
    assert stored["blocks.attn.qkv.weight"].dtype == np.int8
    assert stored["blocks.attn.qkv.weight.scale"].shape == (2, 144, 1)


def test_what_was_changed_since_is_written_in_float32(tiny_learngene: LearngeneFactory, tmp_path: Path) -> None:
    small = compressed(tiny_learngene())
    changed = Learngene(small.header, {name: values * np.float32(1.1) for name, values in small.tensors.items()})
    changed.save(tmp_path / "changed.safetensors")
    found = load(tmp_path / "changed.safetensors")
    assert found.header.compression is None
    assert np.array_equal(found.tensors["blocks.mlp.fc1.weight"], changed.tensors["blocks.mlp.fc1.weight"])


def test_a_damaged_file_is_refused(tiny_learngene: LearngeneFactory, tmp_path: Path) -> None:
    path = tmp_path / "gene.safetensors"
    compressed(tiny_learngene()).save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerificationError, match="not those that were written"):
        load(path)
    for old, new, message in (
        (b'"blocks.attn.qkv.weight.scale"', b'"blocks.attn.qkv.weight.skale"', "has no scales"),
        (b'"version":"3"', b'"version":"5"', "A newer tleg may read it"),
        (b'"compression":', b'"compressian":', "compressian"),
    ):
        path.write_bytes(bytes(content).replace(old, new))
        with pytest.raises(FileFormatError, match=message):
            read_file(path)
