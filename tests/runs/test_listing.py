"""Finding runs: newest first, and the one that a text means."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tleg.errors import InputError
from tleg.runs.launch import create_run
from tleg.runs.listing import list_runs, resolve_run
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec, write_spec


def make(runs_dir: Path, run_id: str, created: float) -> RunFolder:
    run = create_run(runs_dir, kind="learn", recipe={})
    write_spec(run, replace(read_spec(run), id=run_id, created=created))
    return RunFolder(run.path.rename(runs_dir / run_id))


@pytest.fixture
def three(runs_dir: Path) -> list[RunFolder]:
    """Three runs, oldest first. The names of two begin alike, and no name is in order of time."""
    return [make(runs_dir, "b-small", 1.0), make(runs_dir, "a-small", 2.0), make(runs_dir, "a-tiny", 3.0)]


def test_newest_first(runs_dir: Path, three: list[RunFolder]) -> None:
    listing = list_runs(runs_dir)
    assert list(listing) == three[::-1]
    assert len(listing) == 3
    assert listing.skipped == ()


def test_of_the_same_time_by_name(runs_dir: Path) -> None:
    runs = [make(runs_dir, name, 1.0) for name in ("x", "z", "y")]
    assert [run.id for run in list_runs(runs_dir)] == ["z", "y", "x"]
    assert len(runs) == 3


def test_a_missing_folder_holds_no_runs(tmp_path: Path) -> None:
    assert len(list_runs(tmp_path / "none")) == 0


def test_foreign_and_damaged_folders_are_named(runs_dir: Path, three: list[RunFolder], tmp_path: Path) -> None:
    (runs_dir / "notes").mkdir()
    (runs_dir / "notes.txt").write_text("")
    (runs_dir / ".hidden").mkdir()
    three[0].spec_file.write_text("{")
    (runs_dir / "gone").symlink_to(tmp_path / "nowhere")
    listing = list_runs(runs_dir)
    assert [run.id for run in listing] == ["a-tiny", "a-small"]
    assert [(each.path.name, each.reason.split(":")[0]) for each in listing.skipped] == [
        ("b-small", f"{three[0].spec_file} is not JSON"),
        ("notes", "not a run"),
    ]


def test_a_run_that_vanishes_meanwhile(runs_dir: Path, three: list[RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(folder: RunFolder) -> object:
        shutil.rmtree(three[1].path, ignore_errors=True)
        return read_spec(folder)

    monkeypatch.setattr("tleg.runs.listing.read_spec", vanish)
    listing = list_runs(runs_dir)
    assert [run.id for run in listing] == ["a-tiny", "b-small"]
    assert listing.skipped == ()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot read the runs in .*: Not a directory"):
        list_runs(tmp_path / "file")


def test_runs_elsewhere_may_be_linked(runs_dir: Path, three: list[RunFolder], tmp_path: Path) -> None:
    shutil.move(three[2].path, tmp_path / "disk")
    three[2].path.symlink_to(tmp_path / "disk", target_is_directory=True)
    assert [run.id for run in list_runs(runs_dir)] == ["a-tiny", "a-small", "b-small"]


@pytest.mark.parametrize(("text", "found"), [("a-tiny", 2), ("a-t", 2), ("b", 0), ("last", 2), ("a-small", 1)])
def test_resolve(runs_dir: Path, three: list[RunFolder], text: str, found: int) -> None:
    assert resolve_run(text, runs_dir) == three[found]


def test_an_id_that_is_the_beginning_of_another(runs_dir: Path) -> None:
    run = make(runs_dir, "x", 1.0)
    make(runs_dir, "x-2", 2.0)
    assert resolve_run("x", runs_dir) == run


def test_an_ambiguous_beginning_names_the_candidates(runs_dir: Path, three: list[RunFolder]) -> None:
    with pytest.raises(InputError, match=r"'a-' could be a-tiny, a-small; type more of the id"):
        resolve_run("a-", runs_dir)
    for number in range(8):
        make(runs_dir, f"c{number}", 4.0)
    with pytest.raises(InputError, match=r"'c' could be c7, c6, c5, c4, c3 and 3 more; type more of the id"):
        resolve_run("c", runs_dir)
    assert len(three) == 3


@pytest.mark.parametrize(("text", "hint"), [("a-smal1", "a-small"), ("lats", "last"), ("atiny", "a-tiny")])
def test_did_you_mean(runs_dir: Path, three: list[RunFolder], text: str, hint: str) -> None:
    with pytest.raises(InputError, match=rf"no run '{text}' in .*\. Did you mean '{hint}'\?"):
        resolve_run(text, runs_dir)
    assert len(three) == 3


def test_paths(runs_dir: Path, three: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_run(str(three[0].path), tmp_path / "none") == three[0]
    assert resolve_run("runs/b-small/", tmp_path / "none") == three[0]
    assert resolve_run("./runs/../runs/b-small", tmp_path / "none") == three[0]
    monkeypatch.chdir(three[1].path)
    assert resolve_run(".", tmp_path / "none") == three[1]
    monkeypatch.chdir(runs_dir)
    assert resolve_run("b-small", tmp_path / "none") == three[0]
    monkeypatch.setenv("HOME", str(runs_dir))
    assert resolve_run("~/a-tiny", tmp_path / "none") == three[2]


@pytest.mark.parametrize(("text", "message"), [("./none", "is no folder"), ("./empty", "is not a run: it has no spec.json")])
def test_paths_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        resolve_run(text, tmp_path)


def test_without_runs(runs_dir: Path) -> None:
    with pytest.raises(InputError, match=f"there are no runs in {runs_dir}"):
        resolve_run("last", runs_dir)
    with pytest.raises(InputError, match=f"no run 'x': there are no runs in {runs_dir}"):
        resolve_run("x", runs_dir)
    with pytest.raises(InputError, match="name a run"):
        resolve_run("", runs_dir)


def test_a_damaged_run_can_be_named_but_is_not_the_last(runs_dir: Path, three: list[RunFolder]) -> None:
    three[2].spec_file.write_text("{")
    assert resolve_run("a-t", runs_dir) == three[2]
    assert resolve_run("last", runs_dir) == three[1]


def test_a_relative_folder_gives_absolute_runs(
    three: list[RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(list_runs(Path("runs"))) == three[::-1]
    assert os.path.isabs(resolve_run("b", Path("runs")).path)
