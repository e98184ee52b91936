"""A run's folder is removed or moved while it trains: it ends by itself, and never makes the folder again."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment
from tests.scenarios.test_run import LEARN, kill
from tests.training.conftest import ARGUMENTS, VIT, Recorder, learn_job
from tleg.data.datasets import Data
from tleg.errors import ExitCode
from tleg.recipes.io import from_values, to_values
from tleg.recipes.training import Recipe
from tleg.runs.events import EventReader
from tleg.runs.follower import RunFollower
from tleg.runs.launch import create_run
from tleg.runs.run import Presence, RunFolder
from tleg.runs.state import observe, store_failure
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.learn import learn_to_file
from tleg.training.observer import TrainingStoppedError

pytestmark = pytest.mark.usefixtures("forks")

Begin = Callable[..., tuple[RunFolder, "subprocess.Popen[str]"]]


@pytest.fixture
def begin(tmp_path: Path, digits_folder: Path) -> Iterator[Begin]:
    """Start the trainer of a run that would take hours, and wait for its first checkpoint."""
    started: list[subprocess.Popen[str]] = []

    def start(processes: int = 1, data: Path | None = None, **changes: Any) -> tuple[RunFolder, "subprocess.Popen[str]"]:
        given = {key.replace("_", "-"): value for key, value in changes.items()}
        values = {**LEARN, "data": str(data or digits_folder), "epochs": 90000, "evaluate-every": 0, **given}
        recipe = to_values(from_values("learn", values))
        folder = create_run(tmp_path / "runs", kind="learn", recipe=recipe)
        words = [sys.executable, "-m", "tleg.training", str(folder.path)]
        if processes > 1:
            words[1:1] = [
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node",
                str(processes),
                "--max-restarts=3",
            ]
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=clean_environment(),
        )
        started.append(process)
        wait(lambda: list(folder.checkpoints.glob("step-*")), process)
        return folder, process

    yield start
    for process in started:
        kill(process)  # type: ignore[arg-type]
        assert process.stderr is not None
        process.stderr.close()


def wait(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def remove(path: Path) -> None:
    """rm -rf, as people do it: again where the trainer wrote in between."""
    while path.exists():
        subprocess.run(["rm", "-rf", str(path)], check=False, stderr=subprocess.DEVNULL)


def last_words(process: "subprocess.Popen[str]") -> str:
    _, words = process.communicate(timeout=120)
    return words


@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_whose_folder_is_removed_ends(begin: Begin, workers: int) -> None:
    folder, process = begin(workers=workers)
    remove(folder.path)
    assert f"tleg: the folder of run {folder.id} was removed; its training ends\n" in last_words(process)
    assert process.returncode == ExitCode.FAILED
    assert list(folder.path.parent.iterdir()) == []


def test_so_does_one_of_several_processes_and_torchrun_does_not_start_it_again(begin: Begin) -> None:
    folder, process = begin(processes=2)
    remove(folder.path)
    words = last_words(process)
    assert words.count("was removed; its training ends") == 1
    assert process.returncode == 0
    assert list(folder.path.parent.iterdir()) == []


def test_so_does_one_that_evaluates(begin: Begin, digits_folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    subprocess.run(["cp", "-r", str(digits_folder), str(data)], check=True)
    for file in list((data / "val").rglob("*.png")):
        for number in range(200):
            os.link(file, file.with_name(f"{file.stem}-{number}.png"))
    folder, process = begin(data=data, evaluate_every=1)
    reader = EventReader(folder)
    wait(lambda: any(event.payload.get("name") == "evaluation" for event in reader.read() if event.type == "stage"), process)
    remove(folder.path)
    assert "was removed; its training ends" in last_words(process)
    assert list(folder.path.parent.iterdir()) == []


def test_one_whose_folder_is_moved_says_where_it_goes_on(begin: Begin, tmp_path: Path) -> None:
    folder, process = begin()
    moved = RunFolder(tmp_path / "else" / "where")
    moved.path.parent.mkdir()
    folder.path.rename(moved.path)
    assert f"was moved to {moved.path}; its training ends, and `tleg resume {moved.path}` goes on" in last_words(process)
    assert list(folder.path.parent.iterdir()) == []
    state = observe(moved)
    assert (state.state, state.message) == (
        "stopped",
        f"its folder was moved to {moved.path}, and a training stays where it began",
    )
    assert [event.payload["state"] for event in EventReader(moved).read() if event.type == "finished"] == ["stopped"]
    again = subprocess.Popen(
        [sys.executable, "-m", "tleg.training", str(moved.path)], env=clean_environment(), start_new_session=True
    )
    try:
        wait(lambda: observe(moved).step not in (None, state.step) and observe(moved).state == "running", again)  # type: ignore[arg-type]
    finally:
        kill(again)


def test_presence(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "runs", kind="learn", recipe={})
    presence = Presence(folder)
    assert presence.away() is None
    folder.path.rename(tmp_path / "x")
    # Another folder of the name is not the one that was there.
    folder.path.mkdir()
    folder.spec_file.write_text("{}")
    assert presence.away() == f"was moved to {tmp_path / 'x'}"
    assert presence.moved_to == RunFolder(tmp_path / "x")
    (tmp_path / "x").rename(tmp_path / "y")
    assert presence.away() == f"was moved to {tmp_path / 'x'}", "it has said so"

    presence = Presence(folder)
    folder.spec_file.unlink()
    assert (presence.away(), presence.moved_to) == ("was removed", None)


def test_a_file_system_that_does_not_answer_is_no_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = create_run(tmp_path / "runs", kind="learn", recipe={})
    presence = Presence(folder)

    def stale(path: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("tleg.runs.run.os.stat", stale)
    assert presence.away() is None


def test_nothing_is_written_where_there_is_no_folder(
    digits: Data, placement: Placement, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    class Removed(Recorder):
        def may_write(self) -> bool:
            return False

    few = replace(digits, train=digits.validation)
    job = learn_job(few, VIT, ARGUMENTS, recipe=recipe(epochs=1))
    place = tmp_path / "run" / "exports" / "learngene.safetensors"
    with pytest.raises(TrainingStoppedError, match="the folder of the run is gone"):
        learn_to_file(job, placement, place, observer=Removed(), checkpoints=Checkpoints(tmp_path / "run" / "checkpoints"))
    assert not list(tmp_path.iterdir())
    # Not either by who did not notice.
    store_failure(RunFolder(tmp_path / "run"), ExitCode.FAILED, "why")
    recorder = Recorder()
    (tmp_path / "run").mkdir()
    keeping = Checkpoints(tmp_path / "run" / "checkpoints")
    (tmp_path / "run").rmdir()
    learn_to_file(job, placement, tmp_path / "x.safetensors", observer=recorder, checkpoints=keeping)
    assert "is no folder any more" in recorder.warnings[-1][1]
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_viewers_say_that_it_was_removed(
    tmp_path: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_run(tmp_path / "runs", kind="learn", recipe={})
    follower = RunFollower(folder)
    assert not follower.look().gone
    folder.spec_file.unlink()  # What a trainer of an earlier version leaves of a run: a folder without it.
    look = follower.look()
    assert (look.gone, look.state.state, look.state.message) == (True, "lost", "its folder was removed")

    other = create_run(tmp_path / "runs", kind="learn", recipe={})
    from tleg.runs import listing

    listed = listing.list_runs(tmp_path / "runs")
    remove(other.path)
    monkeypatch.setattr("tleg.runs.listing.list_runs", lambda _place: listed)
    shown = run_cli("runs", "--runs-dir", tmp_path / "runs", "--json")
    assert (shown.code, shown.stdout) == (0, "[]\n")
    assert f"left out {other.path}: its folder was removed" in shown.stderr
