"""A family in a process of its own: started, watched by its file, refused twice, stopped."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study.documents import MODEL
from tleg.errors import InputError
from tleg.family.launch import launch_family, stop_family
from tleg.family.progress import FamilyProgress, last_words, read_progress
from tleg.runs.listing import list_runs
from tleg.runs.state import observe


def file_of(folder: Path, data: object, more: str = "") -> Path:
    file = folder / "devices.toml"
    gene = "" if more else 'learngene = "fashion-mnist"\n'
    file.write_text(f'data = "{data}"\nlicense = "mit"\n{gene}{more}\n[devices.phone]\n')
    return file


def wait_for(folder: Path, condition: Callable[[FamilyProgress], object], seconds: float = 120.0) -> FamilyProgress:
    end = time.monotonic() + seconds
    while not condition(found := read_progress(folder)):  # type: ignore[arg-type]
        assert time.monotonic() < end, (found, last_words(folder))
        time.sleep(0.1)
    assert found is not None
    return found


def test_it_ends_with_what_went_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "family"
    pid = launch_family(file_of(tmp_path, tmp_path / "nowhere"), folder)
    begun = read_progress(folder)
    assert begun is not None
    assert begun.pid == pid
    # Its last words come after the file that says why it ended.
    ended = wait_for(folder, lambda progress: not progress.at_work and "nowhere" in last_words(folder))
    assert ended.pid == pid
    assert "nowhere" in str(ended.problem)
    with pytest.raises(InputError, match="no family is at work in"):
        stop_family(folder)


def test_what_is_wrong_in_the_file_starts_nothing(tmp_path: Path) -> None:
    file = file_of(tmp_path, "x", '[devices.watch]\nmax-params = "many"')
    with pytest.raises(InputError):
        launch_family(file, tmp_path / "family")
    assert not (tmp_path / "family").exists()


@pytest.mark.slow
def test_one_at_a_time_and_stopping_saves_the_training(tmp_path: Path, digits: Path) -> None:
    learn = '[learn]\narchitecture = "vit_tiny_patch16_224"\nepochs = 500\nbatch-size = 50\nworkers = 0\n'
    learn += f"model-arg = {{ {', '.join(f'{name} = {value}' for name, value in MODEL.items())} }}\n"
    folder, file = tmp_path / "family", file_of(tmp_path, digits, learn)
    launch_family(file, folder)
    wait_for(folder, lambda progress: progress.steps.get("learngene") and progress.steps["learngene"].stage == "training")
    with pytest.raises(InputError, match="another `tleg family` is at work in"):
        launch_family(file, folder)
    end = time.monotonic() + 60
    while not [run for run in list_runs(folder / "runs") if observe(run).state == "running"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    stop_family(folder)
    ended = wait_for(folder, lambda progress: not progress.at_work)
    assert "it was stopped" in str(ended.problem)
    (run,) = list_runs(folder / "runs")
    assert observe(run).state == "stopped"
