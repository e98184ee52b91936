"""spec.json: what is written is read again, and what is wrong is named."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import ExportError, FileFormatError, InputError
from tleg.recipes import KINDS
from tleg.recipes.distillation import Depths
from tleg.recipes.io import from_values, to_values
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import RECIPES
from tleg.runs.run import RunFolder
from tleg.runs.spec import Launch, RunSpec, read_spec, write_spec

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
LAUNCHES = st.builds(
    Launch,
    devices=st.none() | st.integers(1, 64),
    nodes=st.integers(1, 64),
    max_restarts=st.integers(0, 9),
    slurm=st.none() | OBJECTS,
    job_id=st.none() | TEXTS,
)
SPECS = st.builds(
    RunSpec,
    version=st.just(1),
    id=TEXTS,
    kind=st.sampled_from(KINDS),
    # One that says its data or architecture, and not what was recorded later, means more than it says.
    recipe=OBJECTS.filter(lambda recipe: not {"data", "architecture"} & recipe.keys()),
    command=st.lists(TEXTS, max_size=4).map(tuple),
    created=st.floats(0, 1e10),
    host=TEXTS,
    folder=TEXTS,
    versions=st.dictionaries(TEXTS, TEXTS, max_size=3),
    output=st.none() | TEXTS,
    overwrite=st.booleans(),
    lineage=OBJECTS,
    launch=LAUNCHES,
    amendments=st.lists(OBJECTS, max_size=3).map(tuple),
)


@given(SPECS)
def test_round_trip(run: RunFolder, spec: RunSpec) -> None:
    write_spec(run, spec)
    assert read_spec(run) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "lern"}, r"spec\.json: unknown kind of run 'lern'"),
        ({"kind": 3}, r"spec\.json\.kind must be a text"),
        ({"created": "now"}, r"spec\.json\.created must be a number"),
        ({"command": ["tleg", 1]}, r"spec\.json\.command\[1\] must be a text"),
        ({"versions": {"torch": 2}}, r"spec\.json\.versions\.torch must be a text"),
        ({"launch": {"devices": 0}}, r"spec\.json: a run needs 1 or more devices, not 0"),
        ({"launch": {"nodes": "2"}}, r"spec\.json\.launch\.nodes must be a whole number"),
        ({"launch": {"gpus": 2}}, r"spec\.json\.launch has an unknown field 'gpus'"),
        ({"receipt": {}}, r"spec\.json has an unknown field 'receipt'"),
        ({"version": 2}, r"spec\.json was written by a newer tleg \(version 2, this one reads 1\); update tleg"),
    ],
)
def test_what_is_wrong_is_named(run: RunFolder, change: dict[str, Any], message: str) -> None:
    run.spec_file.write_text(json.dumps(json.loads(run.spec_file.read_text()) | change))
    with pytest.raises(FileFormatError, match=message):
        read_spec(run)


@pytest.mark.parametrize("field", ["id", "kind", "recipe", "created", "folder"])
def test_missing_fields_are_named(run: RunFolder, field: str) -> None:
    document = json.loads(run.spec_file.read_text())
    del document[field]
    run.spec_file.write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match=f"lacks the field '{field}'"):
        read_spec(run)


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_damaged_files(run: RunFolder, text: bytes) -> None:
    run.spec_file.write_bytes(text)
    with pytest.raises(FileFormatError, match=r"spec\.json"):
        read_spec(run)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"cannot read .*spec\.json: No such file or directory"):
        read_spec(RunFolder(tmp_path))


def test_a_full_disk_leaves_the_old_spec(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run.spec_file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ExportError, match="No space left on device"):
        write_spec(run, replace(read_spec(run), output="elsewhere"))
    assert run.spec_file.read_bytes() == before


@pytest.mark.parametrize(("launch", "processes"), [(Launch(), 1), (Launch(4), 4), (Launch(4, 3), 12), (Launch(None, 2), 2)])
def test_processes_in_all(launch: Launch, processes: int) -> None:
    assert launch.processes == processes


@pytest.mark.parametrize("wrong", [{"devices": 0}, {"nodes": 0}, {"max_restarts": -1}])
def test_launches_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="a run needs"):
        Launch(**wrong)


def test_every_kind_of_run_has_a_recipe() -> None:
    assert tuple(RECIPES) == KINDS


@pytest.mark.parametrize("given", [{}, {"sample-depths": "2,4"}, {"auxiliary-depth": 6}])
def test_a_learning_of_before_depths_were_drawn_by_default_goes_on_as_it_began(
    run: RunFolder, given: dict[str, Any]
) -> None:
    recipe = {"architecture": "vit_tiny_patch16_224", "data": "fashion-mnist", "exif": True, **given}
    write_spec(run, replace(read_spec(run), kind="learn", recipe=recipe))
    read = from_values("learn", read_spec(run).recipe)
    assert isinstance(read, LearnRecipe)
    assert read.initial_matrices == "timm"
    assert read.depths == Depths(
        6 if given.get("auxiliary-depth") else 4 if given else 12, (2, 4) if "sample-depths" in given else ()
    )
    # What is written now says all of it, and means what it says.
    now = to_values(from_values("learn", {"architecture": "vit_tiny_patch16_224", "data": "fashion-mnist"}))
    write_spec(run, replace(read_spec(run), recipe=now))
    assert read_spec(run).recipe == now
