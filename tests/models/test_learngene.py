"""Learngenes: saving, loading, what is noticed, what is left alone."""

import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tleg.errors import ExportError, FileFormatError, InputError, VerificationError
from tleg.learngene.basis import PARTS, Basis, parse_basis
from tleg.learngene.container import read_header
from tleg.models.learngene import Learngene, load

BASES = [
    Basis(),
    parse_basis("polynomial:3"),
    parse_basis("cosine:2"),
    parse_basis("piecewise:3"),
    *(Basis(expanded=(part,)) for part in PARTS),
    parse_basis("polynomial:2", ("attention", "norm")),
]


@pytest.mark.parametrize("basis", BASES, ids=lambda basis: f"{basis.name}-{'-'.join(basis.expanded)}")
def test_round_trip(tiny_learngene: Any, tmp_path: Path, basis: Basis) -> None:
    learngene = tiny_learngene(basis=basis, auxiliary_depth=9, sampled_depths=(3, 9))
    learngene.save(tmp_path / "it.safetensors")
    again = load(tmp_path / "it.safetensors")
    assert replace(again.header, sha256="") == learngene.header
    assert again.header.sha256 == learngene.hash()
    assert again.tensors.keys() == learngene.tensors.keys()
    assert all(np.array_equal(again.tensors[name], values) for name, values in learngene.tensors.items())
    assert again.parameters == sum(values.size for values in learngene.tensors.values())


def test_other_programs_read_the_file(learngene_file: Path) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(learngene_file)
    learngene = load(learngene_file)
    assert all(np.array_equal(tensors.pop(name), values) for name, values in learngene.tensors.items())
    assert not tensors


def test_equal_learngenes_are_equal_files(tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene()
    learngene.save(tmp_path / "a")
    Learngene(learngene.header, dict(reversed(learngene.tensors.items()))).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_memory_layout_does_not_matter(tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene()
    other = Learngene(learngene.header, {name: np.asfortranarray(values) for name, values in learngene.tensors.items()})
    assert other.hash() == learngene.hash()
    other.save(tmp_path / "it")
    assert np.array_equal(load(tmp_path / "it").tensors["head.weight"], learngene.tensors["head.weight"])


def test_a_changed_value_is_noticed(learngene_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed"
    content = bytearray(learngene_file.read_bytes())
    content[-4] ^= 1  # The last bit of the last value: still a fine number.
    path.write_bytes(content)
    assert read_header(path) == read_header(learngene_file)
    with pytest.raises(VerificationError, match="hash differs"):
        load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["head.bias", "blocks.mlp.fc1.weight"])
def test_values_that_are_not_finite_are_refused(tiny_learngene: Any, tmp_path: Path, name: str, value: float) -> None:
    learngene = tiny_learngene()
    learngene.tensors[name].reshape(-1)[3] = value
    with pytest.raises(FileFormatError, match=rf"'{name}' holds values that are not finite"):
        learngene.save(tmp_path / "it")
    assert list(tmp_path.iterdir()) == []


def test_large_finite_values_are_fine(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    learngene.tensors["head.weight"][:] = np.finfo(np.float32).max
    learngene.verify()


def test_every_difference_is_named(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    tensors = dict(learngene.tensors)
    del tensors["norm.bias"]
    tensors["extra"] = np.zeros(3, np.float32)
    tensors["head.bias"] = np.zeros(9, np.float32)
    tensors["blocks.norm1.bias"] = np.zeros((3, 48), np.float32)
    tensors["head.weight"] = tensors["head.weight"].astype(np.float64)
    with pytest.raises(FileFormatError) as caught:
        Learngene(learngene.header, tensors).verify()
    for says in (
        "'norm.bias' is missing",
        "'extra' is unexpected",
        "'head.bias' has shape [9] instead of [7]",
        "'blocks.norm1.bias' (norm) has 3 terms instead of 2",
        "'head.weight' is float64, not float32",
    ):
        assert says in str(caught.value)


def test_a_header_that_json_cannot_hold_is_refused(tiny_learngene: Any, tmp_path: Path) -> None:
    for value in (float("nan"), object(), {1, 2}):
        with pytest.raises(FileFormatError, match="'learned' cannot be written"):
            tiny_learngene(learned={"loss": value}).save(tmp_path / "it")
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces_only_when_told(tiny_learngene: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "it.safetensors"
    tiny_learngene().save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="--force"):
        tiny_learngene(seed=1).save(path)
    assert path.read_bytes() == before
    tiny_learngene(seed=1).save(path, overwrite=True)
    assert path.read_bytes() != before
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600


def test_saving_onto_a_folder_is_refused(tiny_learngene: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        tiny_learngene().save(tmp_path, overwrite=True)


def test_saving_below_a_file_is_refused(tiny_learngene: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((ExportError, InputError)):
        tiny_learngene().save(tmp_path / "file" / "it.safetensors")


def test_a_full_disk_leaves_the_old_file(learngene_file: Path, tmp_path: Path, run_python: Any) -> None:
    path = tmp_path / "old.safetensors"
    shutil.copy(learngene_file, path)
    code = (
        "import resource, sys; from tleg.errors import ExportError; from tleg.models.learngene import load\n"
        "learngene = load(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: learngene.with_header(learned={}).save(sys.argv[1], overwrite=True)\n"
        "except ExportError as error: print(error)"
    )
    done = run_python(code, path)
    assert done.stdout == f"cannot write {path}: File too large (`ulimit -f` or the file system allows no larger ones)\n"
    assert path.read_bytes() == learngene_file.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_unknown_names_have_suggestions(learngene_file: Path) -> None:
    with pytest.raises(InputError, match="no shipped learngene and no run 'nonsense'"):
        load("nonsense")
    with pytest.raises(InputError, match=r"Did you mean 'tiny\.safetensors'"):
        load(learngene_file.with_name("tinny.safetensors"))
