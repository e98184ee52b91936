"""Runs as real processes: killed, stopped, moved to other numbers of processes, resumed to the bit."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment
from tleg.recipes.io import from_values, to_values
from tleg.runs.events import EventReader
from tleg.runs.launch import create_run
from tleg.runs.lock import RunLock
from tleg.runs.processes import all_processes, find_process
from tleg.runs.run import RunFolder
from tleg.runs.spec import Launch
from tleg.runs.state import observe
from tleg.training.checkpoint import Checkpoints, read_progress

pytestmark = pytest.mark.usefixtures("forks")

MODEL_ARGUMENTS = {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2, "in_chans": 1}
LEARN: Mapping[str, Any] = {
    "architecture": "vit_tiny_patch16_224",
    "model-arg": MODEL_ARGUMENTS,
    "sample-depths": "2,3,4",
    "evaluate-depths": "2-4",
    "epochs": 6,
    "batch-size": 40,
    "accumulate": 2,
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema": 0.99,
    "workers": 0,
    "lr": 2e-3,
    "checkpoint-steps": 3,
    "device": "cpu",
}
MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make_run(tmp_path: Path, digits_folder: Path) -> MakeRun:
    """A run of 30 steps on the digits: make_run("name", epochs=2)."""

    def make(name: str = "a", *, output: Path | None = None, launch: Launch | None = None, **changes: Any) -> RunFolder:
        given = {key.replace("_", "-"): value for key, value in changes.items()}
        recipe = from_values("learn", {**LEARN, "data": str(digits_folder), **given})
        return create_run(
            tmp_path / "runs",
            kind="learn",
            recipe=to_values(recipe),
            name=name,
            output=None if output is None else str(output),
            launch=launch,
        )

    return make


def start(folder: RunFolder, *, processes: int = 1, restarts: int = 0) -> subprocess.Popen[bytes]:
    """Start the trainer of a run, as launching does, with its output in train.log."""
    command = [sys.executable, "-m", "tleg.training", str(folder.path)]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *torchrun, "--max-restarts", str(restarts), *command[1:]]
    with folder.log_file.open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=clean_environment()
        )


def finish(folder: RunFolder, **options: Any) -> int:
    """Train a run to its end."""
    code = start(folder, **options).wait(timeout=200)
    assert code == 0, folder.log_file.read_text()
    return code


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are killed, with all that they started, when the test ends."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 a process and all that it started, which torchrun gives sessions of their own."""
    doomed = {process.pid}
    for pid, each in sorted(all_processes().items()):
        if each.parent in doomed:
            doomed.add(pid)
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=120)
    while any(find_process(pid) for pid in doomed):
        time.sleep(0.005)


def wait_for(folder: RunFolder, step: int, process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    """Wait until a run has a checkpoint of this step or a later one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        paths = Checkpoints(folder.checkpoints).paths()
        if paths and read_progress(paths[0]).step >= step:
            return
        assert process.poll() is None, folder.log_file.read_text()
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint of step {step}: {folder.log_file.read_text()}")


def learned(folder: RunFolder) -> tuple[str, Any]:
    """The hash of what a run learned, and what it says that it reached."""
    import tleg

    learngene = tleg.load(folder.exports / "learngene.safetensors")
    return learngene.hash(), learngene.header.reached


def events(folder: RunFolder, kind: str) -> list[Mapping[str, Any]]:
    return [event.payload for event in EventReader(folder).read() if event.type == kind]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path) -> RunFolder:
    """The run of LEARN that nothing happened to."""
    recipe = from_values("learn", {**LEARN, "data": str(digits_folder)})
    folder = create_run(tmp_path_factory.mktemp("whole"), kind="learn", recipe=to_values(recipe), name="whole")
    finish(folder)
    return folder


# Steps of two processes differ from those of one by rounding, which Adam would magnify.
PLAIN_STEPS: Mapping[str, Any] = {"optimizer": "sgd", "lr": 0.05}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path) -> RunFolder:
    """A run of two processes that nothing happened to."""
    recipe = from_values("learn", {**LEARN, **PLAIN_STEPS, "devices": 2, "data": str(digits_folder)})
    folder = create_run(tmp_path_factory.mktemp("together"), kind="learn", recipe=to_values(recipe), name="together")
    finish(folder, processes=2)
    return folder


def test_a_run_tells_its_story(untouched: RunFolder, digits_folder: Path) -> None:
    state = observe(untouched)
    assert (state.state, state.exit_code, state.step, state.steps) == ("finished", 0, 30, 30)
    assert state.result == str(untouched.exports / "learngene.safetensors")
    (begun,) = events(untouched, "started")
    assert (begun["step"], begun["steps"], begun["epochs"], begun["world_size"]) == (0, 30, 6, 1)
    assert (begun["device"], begun["precision"]) == ("cpu", "float32")
    steps = [payload["step"] for payload in events(untouched, "step")]
    assert steps[0] == 1
    assert steps[-1] == 30
    evaluations = events(untouched, "evaluation")
    assert [(each["epoch"], each["weights"]) for each in evaluations] == [
        (epoch, weights) for epoch in range(1, 7) for weights in ("model", "ema")
    ]
    assert [row["depth"] for row in evaluations[0]["scores"]] == [2, 4]
    assert events(untouched, "checkpoint")[-1]["step"] == 30
    (ended,) = events(untouched, "finished")
    assert ended["state"] == "finished"
    assert "top-1" in ended["reason"]
    numbers = [event.seq for event in EventReader(untouched).read()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_killed_run_goes_on_to_the_same_bits(
    untouched: RunFolder, make_run: MakeRun, started: list[subprocess.Popen[bytes]]
) -> None:
    # Other numbers of workers on the way change nothing.
    folder = make_run()
    for step in (6, 15):
        process = start(folder)
        started.append(process)
        wait_for(folder, step, process)
        kill(process)
        assert observe(folder).state == "lost"
    finish(folder)
    assert learned(folder) == learned(untouched)
    starts = events(folder, "started")
    assert [payload["step"] > 0 for payload in starts] == [False, True, True]
    assert [payload["resumed_from"] for payload in starts] == [
        None,
        *(f"step-{payload['step']:09d}" for payload in starts[1:]),
    ]


def test_two_processes_make_the_steps_of_one(together: RunFolder, make_run: MakeRun) -> None:
    import numpy as np

    import tleg

    folder, single = together, make_run("single", **PLAIN_STEPS)
    finish(single)
    assert events(folder, "started")[0]["world_size"] == 2
    both, one = (tleg.load(each.exports / "learngene.safetensors") for each in (folder, single))
    largest = max(float(np.abs(value - one.tensors[name]).max()) for name, value in both.tensors.items())
    assert 0 < largest < 1e-5
    # Every image is counted once, in either.
    assert both.header.reached is not None
    assert one.header.reached is not None
    assert both.header.reached.images == one.header.reached.images == 50
    losses = {payload["step"]: payload["loss"] for payload in events(folder, "step")}
    for payload in events(single, "step"):
        if payload["step"] in losses:
            assert payload["loss"] == pytest.approx(losses[payload["step"]], rel=1e-4)


def test_two_killed_processes_go_on_to_the_same_bits(
    together: RunFolder, make_run: MakeRun, started: list[subprocess.Popen[bytes]]
) -> None:
    folder = make_run("killed", devices=2, **PLAIN_STEPS)
    process = start(folder, processes=2)
    started.append(process)
    wait_for(folder, 9, process)
    kill(process)
    assert observe(folder).state == "lost"
    finish(folder, processes=2)
    assert learned(folder) == learned(together)


@pytest.mark.slow
def test_two_processes_leave_a_finished_run_as_it_is(make_run: MakeRun) -> None:
    folder = make_run(devices=2, epochs=1)
    finish(folder, processes=2)
    count = len(EventReader(folder).read())
    finish(folder, processes=2)  # And none waits for the other.
    assert len(EventReader(folder).read()) == count


@pytest.mark.slow
def test_a_run_moves_to_another_number_of_processes(
    untouched: RunFolder, make_run: MakeRun, started: list[subprocess.Popen[bytes]]
) -> None:
    import numpy as np

    import tleg

    folder = make_run("moved")
    process = start(folder)
    started.append(process)
    wait_for(folder, 15, process)
    kill(process)
    finish(folder, processes=2)
    assert [payload["world_size"] for payload in events(folder, "started")] == [1, 2]
    moved, whole = (tleg.load(each.exports / "learngene.safetensors") for each in (folder, untouched))
    largest = max(float(np.abs(value - whole.tensors[name]).max()) for name, value in moved.tensors.items())
    # The same steps; Adam magnifies the rounding of small gradients.
    assert largest < 1e-3
    steps = [payload["step"] for payload in events(folder, "checkpoint")]
    assert steps == sorted(steps)


def worker_pids(folder: RunFolder) -> list[int]:
    """The processes that train a run: those whose command line ends with its folder, torchrun left out."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder.path).encode() in words and b"torch.distributed.run" not in words:
            found.append(int(path.name))
    return sorted(found)


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_killed_process_of_two_fails_the_run_or_starts_it_again(
    make_run: MakeRun, started: list[subprocess.Popen[bytes]], restarts: int
) -> None:
    folder = make_run(devices=2, accumulate=1, epochs=600)
    process = start(folder, processes=2, restarts=restarts)
    started.append(process)
    wait_for(folder, 6, process)
    main = observe(folder).pid
    (other,) = (pid for pid in worker_pids(folder) if pid != main)
    os.kill(other, signal.SIGKILL)
    if restarts:
        end = time.monotonic() + 120
        while len(events(folder, "started")) < 2 or observe(folder).state != "running":
            assert time.monotonic() < end, folder.log_file.read_text()
            time.sleep(0.1)
        again = events(folder, "started")[1]
        assert again["restart"] == 1
        assert again["step"] >= 6
        assert "starting again (1 of 1)" in events(folder, "warning")[-1]["text"]
        return
    assert process.wait(timeout=120) != 0
    state = observe(folder)
    assert (state.state, state.exit_code) == ("failed", 1)
    assert state.message is not None
    assert "another process of the run died" in state.message
    assert "goes on from the last checkpoint" in state.message


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGINT, signal.SIGUSR1))]
)
def test_a_signal_saves_and_ends(make_run: MakeRun, started: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    folder = make_run(epochs=2000, checkpoint_steps=100000, evaluate_every=0)
    process = start(folder)
    started.append(process)
    end = time.monotonic() + 120
    while not events(folder, "step"):
        assert time.monotonic() < end, folder.log_file.read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    process.send_signal(number)
    later = number == signal.SIGUSR1
    assert process.wait(timeout=120) == (75 if later else 0)
    state = observe(folder)
    assert state.state == ("queued" if later else "stopped")
    (path,) = Checkpoints(folder.checkpoints).paths()
    assert read_progress(path).step == state.step
    assert f"stopped after step {state.step} of 10000" in (state.message or "")


def test_a_second_trainer_is_refused(make_run: MakeRun) -> None:
    folder = make_run()
    first = RunLock(folder)
    assert first.acquire(timeout=1.0)
    second = subprocess.run(
        [sys.executable, "-m", "tleg.training", str(folder.path)], capture_output=True, text=True, env=clean_environment()
    )
    first.release()
    assert second.returncode == 2
    assert "is being trained already" in second.stderr


def test_a_run_that_cannot_start_says_why(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(data=str(tmp_path / "nowhere"))
    assert start(folder).wait(timeout=120) == 2
    state = observe(folder)
    assert (state.state, state.exit_code) == ("failed", 2)
    assert "there is no folder and no known data set" in (state.message or "")


def test_an_output_that_appeared_meanwhile_is_not_replaced(make_run: MakeRun, tmp_path: Path) -> None:
    output = tmp_path / "gene.safetensors"
    folder = make_run(output=output, epochs=1, evaluate_depths="none")
    output.write_text("somebody else's")
    assert start(folder).wait(timeout=120) == 1
    message = observe(folder).message or ""
    assert "exists already" in message
    assert f"The result is in {folder.exports / 'learngene.safetensors'}" in message
    assert output.read_text() == "somebody else's"
    output.unlink()
    finish(folder)
    assert (
        hashlib.sha256(output.read_bytes()).digest()
        == hashlib.sha256((folder.exports / "learngene.safetensors").read_bytes()).digest()
    )
    assert json.loads(folder.state_file.read_text())["result"] == str(output)
