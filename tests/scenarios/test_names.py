"""Names that are not UTF-8, composed otherwise, or hold what breaks formats: text everywhere."""

import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import make_learngene
from tests.data.test_image_files import fill
from tleg.data.datasets import Wanted, class_counts
from tleg.data.open import open_data
from tleg.data.sources import data_name
from tleg.errors import DataError, InputError
from tleg.export.build import build_exports
from tleg.export.manifest import read_manifest
from tleg.export.onnx.runtime import open_onnx
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.files import is_utf8, readable_name, readable_path, text_only

LATIN1 = os.fsdecode(b"caf\xe9")
NFC, NFD = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")


@given(st.binary(min_size=1, max_size=20))
def test_every_name_of_a_disk_becomes_text(raw: bytes) -> None:
    name = os.fsdecode(raw)
    for text in (readable_name(name), readable_path(name)):
        assert text.encode("utf-8").decode("utf-8") == text
    assert readable_name(readable_name(name)) == readable_name(name)
    assert is_utf8(name) == (name.encode("utf-8", "surrogateescape") == name.encode("utf-8", "replace"))


def test_latin_letters_and_composed_ones_are_one_name() -> None:
    assert {readable_name(name) for name in (LATIN1, NFC, NFD)} == {NFC}
    assert readable_path(f"a/{LATIN1}.jpg") == "a/caf\\xe9.jpg"


@pytest.mark.parametrize(("train", "val"), [(NFC, NFD), (NFD, NFC), (LATIN1, LATIN1), (LATIN1, NFC)])
def test_splits_agree_on_a_class_in_any_spelling(tmp_path: Path, train: str, val: str) -> None:
    fill(tmp_path, {f"train/{train}": 3, "train/boot": 2, f"val/{val}": 2})
    data = open_data(str(tmp_path))
    assert set(data.classes) == {"boot", NFC}
    assert class_counts(data.validation, 2)[data.classes.index(NFC)] == 2
    assert any("is no UTF-8" in note for note in data.notes) == (train == LATIN1)
    alone = open_data(str(tmp_path / "val"), wanted=Wanted(evaluation=True, classes=("boot", NFD)))
    assert (alone.classes, class_counts(alone.validation, 2)) == (("boot", NFD), (0, 2))


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {f"train/{NFC}": 3, f"train/{NFD}": 2, "val/boot": 1})
    with pytest.raises(DataError, match="are both called 'café', in other bytes"):
        open_data(str(tmp_path))


def test_broken_files_of_such_names_are_told_of(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1})
    (tmp_path / "train" / "a" / f"{LATIN1}.jpg").write_bytes(b"broken")
    data = open_data(str(tmp_path))
    with pytest.raises(DataError, match=r"a/caf\\xe9\.jpg: it is no image"):
        data.train.image(1)


@pytest.mark.parametrize("name", ["line\nbreak", "[red]bold[-red]", 'a,b "c"', "日本語 😀", "=1+1", LATIN1])
def test_names_of_data_sets_and_classes(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    fill(root, {f"train/{name}": 2, "train/x": 2, f"val/{name}": 1})
    data = open_data(str(root))
    assert data.name == readable_name(name) == data_name(str(root))
    assert readable_name(name) in data.classes
    assert data.name.encode("utf-8")


def test_what_a_file_of_text_stores_is_text() -> None:
    stored = text_only({"name": LATIN1, "files": [f"{LATIN1}.onnx", 3], "nested": {LATIN1: None}, "nfd": NFD})
    assert stored == {"name": NFC, "files": [f"{NFC}.onnx", 3], "nested": {NFC: None}, "nfd": NFD}


def test_exports_of_a_file_of_such_a_name(tmp_path: Path) -> None:
    """Their own names are text, and so is what they say of it; libraries that open no other path are not asked to."""
    file = tmp_path / f"{LATIN1}.safetensors"
    make_learngene(classes=("Ärger", "line\nbreak", "[b]x[-b]", NFC, "a,b", "日本語", "=1+1")).save(file)
    built = build_exports(BuildRequest(file, ("onnx", "pytorch"), (2,), tmp_path / "out"))
    assert [export.path.name for export in built] == [f"{NFC}-depth2.onnx", f"{NFC}-depth2"]
    learngene = built[0].manifest.learngene
    assert learngene is not None
    stored = read_manifest(built[0].manifest_path)
    assert stored.learngene == replace(learngene, name=NFC, file=f"{NFC}.safetensors")
    assert stored.preprocessing == open_onnx(built[0].path).preprocessing
    assert open_onnx(built[0].path).classes[1] == "line\nbreak"
    assert check_path(built[0].path, file).passed
    with pytest.raises(InputError, match=r"out\\xe9 is no UTF-8, and ONNX opens no such path; rename it"):
        build_exports(BuildRequest(file, ("onnx",), (2,), tmp_path / os.fsdecode(b"out\xe9")))
