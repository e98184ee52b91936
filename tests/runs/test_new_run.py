"""Making runs: names, and what a new run holds."""

import errno
import json
import os
import re
import threading
from pathlib import Path

import pytest

from tleg.errors import InputError, TlegError
from tleg.launch import make_training
from tleg.paths import runs_folder
from tleg.recipes.io import from_values
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.spec import Launch, read_spec
from tleg.runs.state import read_state


def make(runs_dir: Path, name: str = "x") -> RunFolder:
    return create_run(runs_dir, kind="finetune", recipe={}, name=name)


def test_a_new_run_holds_its_spec_and_waits(runs_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    run = create_run(
        runs_dir,
        kind="learn",
        recipe={"epochs": 3},
        command=["tleg", "learn"],
        output="out.safetensors",
        overwrite=True,
        lineage={"learngene": "a.safetensors"},
        launch=Launch(devices=2),
        versions={"python": "3.11"},
    )
    spec = read_spec(run)
    assert spec.id == run.id == run.path.name
    assert (spec.version, spec.kind, spec.recipe, spec.command) == (1, "learn", {"epochs": 3}, ("tleg", "learn"))
    assert (spec.folder, spec.host) == (str(tmp_path), os.uname().nodename)
    assert (spec.output, spec.overwrite, spec.lineage) == ("out.safetensors", True, {"learngene": "a.safetensors"})
    assert (spec.launch, spec.versions) == (Launch(devices=2), {"python": "3.11"})
    assert read_state(run).state == "queued"
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "exports", "spec.json", "state.json"]
    assert [path.name for path in runs_dir.iterdir()] == [run.id]


def test_an_id_names_time_kind_and_model_and_is_easy_to_type(runs_dir: Path) -> None:
    run = make(runs_dir, "ViT_Small/16 (äöü) " + "very-" * 20)
    assert re.fullmatch(r"\d{6}-\d{6}-finetune-vit-small-16(-[a-z-]*[a-z])?", run.id)
    assert len(run.id) <= 6 + 1 + 6 + 1 + 8 + 1 + 17


@pytest.mark.parametrize(
    ("name", "ending", "called"),
    [
        ("fashion-mnist", "-depth8", "fashion-mnist-depth8"),
        ("fashion-mnist", "layer-skip-depth12", "fash-layer-skip-depth12"),
        ("A very long name of a learngene", "-depth1024", "a-very-long-depth1024"),
        ("gene", "", "gene"),
        ("", "-depth12", "depth12"),
    ],
)
def test_a_long_name_is_cut_and_its_ending_never(name: str, ending: str, called: str, runs_dir: Path) -> None:
    run = create_run(runs_dir, kind="finetune", recipe={}, name=name, ending=ending)
    assert re.fullmatch(rf"\d{{6}}-\d{{6}}-finetune-{called}", run.id)


def test_trainings_of_one_learngene_at_several_depths_are_told_apart_by_their_ids(runs_dir: Path) -> None:
    given = {"learngene": "fashion-mnist", "data": "fashion-mnist"}
    plain = [make_training(from_values("finetune", {**given, "depth": depth}), runs_dir).id[14:] for depth in (4, 8, 12)]
    assert plain == [f"finetune-fashion-mnist-depth{depth}" for depth in (4, 8, 12)]
    baseline = make_training(from_values("finetune", {**given, "depth": 12, "init": "mimetic"}), runs_dir)
    assert baseline.id[14:] == "finetune-fashi-mimetic-depth12"


def test_ids_sort_by_time(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for seconds in (0.0, 59.0, 3600.0, 40 * 86400.0, 400 * 86400.0):
        monkeypatch.setattr("time.time", lambda seconds=seconds: 1.7e9 + seconds)
        ids.append(make(runs_dir).id)
    assert ids == sorted(ids)
    assert len(set(ids)) == 5


def test_runs_of_the_same_second_have_names_of_their_own(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1.7e9)
    found: list[RunFolder] = []
    threads = [threading.Thread(target=lambda: found.append(make(runs_dir))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = min((run.id for run in found), key=len)
    assert {run.id for run in found} == {first, *(f"{first}-{number}" for number in range(2, 13))}
    assert all(read_spec(run).id == run.id for run in found)
    assert {path.name for path in runs_dir.iterdir()} == {run.id for run in found}


def test_a_name_that_another_run_took_in_the_last_moment_is_passed_over(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1.7e9)
    first = make(runs_dir)
    # The first look sees nothing, as when two start at once.
    looks, exists = iter([False]), Path.exists

    def look(path: Path) -> bool:
        return next(looks, True) if path == first.path else exists(path)

    monkeypatch.setattr(Path, "exists", look)
    assert make(runs_dir).id == f"{first.id}-2"
    assert read_spec(first).id == first.id


def test_nothing_is_left_when_a_run_cannot_be_made(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TlegError, match=r"cannot make a run in .*: No space left .*make room.*; TLEG_RUNS names another"):
        make(runs_dir)
    assert list(runs_dir.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TlegError, match="cannot make a run"):
        make(tmp_path / "file")


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_json_cannot_hold_is_refused(runs_dir: Path, value: object) -> None:
    with pytest.raises(InputError, match="JSON values alone"):
        create_run(runs_dir, kind="learn", recipe={"lr": value})
    assert list(runs_dir.iterdir()) == []


def test_an_unknown_kind_is_refused(runs_dir: Path) -> None:
    with pytest.raises(InputError, match="unknown kind of run 'lern': choose learn, train, finetune"):
        create_run(runs_dir, kind="lern", recipe={})


def test_other_users_may_look(run: RunFolder) -> None:
    current = os.umask(0o022)
    os.umask(current)
    for path, mode in ((run.path, 0o777), (run.spec_file, 0o666), (run.state_file, 0o666)):
        assert path.stat().st_mode & 0o777 == mode & ~current


def test_spec_is_readable_by_people(run: RunFolder) -> None:
    text = run.spec_file.read_text()
    assert '\n  "kind": "learn",\n' in text
    assert json.loads(text)["recipe"] == {"epochs": 3, "lr": 5e-4}


def test_where_runs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLEG_RUNS", "/a/runs")
    monkeypatch.setenv("XDG_DATA_HOME", "/b")
    assert runs_folder() == Path("/a/runs")
    monkeypatch.delenv("TLEG_RUNS")
    assert runs_folder() == Path("/b/tleg/runs")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert runs_folder() == Path.home() / ".local/share/tleg/runs"
