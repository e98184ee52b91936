"""Starting trainers: the commands, and processes that outlive whoever started them."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import InputError, TlegError
from tleg.runs.control import kill_run, request_stop, stop_requested
from tleg.runs.events import EventReader
from tleg.runs.launch import create_run, launch, node_command, trainer_command
from tleg.runs.lock import RunLock, is_locked
from tleg.runs.processes import boot_id, start_ticks
from tleg.runs.run import RunFolder
from tleg.runs.spec import Launch, read_spec, write_spec
from tleg.runs.state import RunState, observe, read_state, write_state

# Stands in for the trainer: it tells what it was given, works until it is asked to stop, and leaves its last word.
STAND_IN = """
import json, os, signal, sys, time
from dataclasses import replace
from pathlib import Path
from tleg.runs.control import stop_requested
from tleg.runs.events import EventWriter
from tleg.runs.launch import RunFolder
from tleg.runs.lock import RunLock
from tleg.runs.state import read_state, write_state

folder = RunFolder(Path(sys.argv[1]))
assert "here" not in sys.modules and not any(name == "" or name == os.getcwd() for name in sys.path)
given = {"cwd": os.getcwd(), "sid": os.getsid(0), "stdin": os.readlink("/proc/self/fd/0"),
         "hup": signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "state": read_state(folder).state,
         "launcher": read_state(folder).launcher_pid, "threads": os.environ["OMP_NUM_THREADS"],
         "world": os.environ.get("WORLD_SIZE"), "locked_before": folder.lock_file.exists()}
with RunLock(folder), EventWriter(folder) as events:
    print("out", flush=True)
    print("err", file=sys.stderr, flush=True)
    write_state(folder, replace(read_state(folder), state="running", pid=os.getpid()))
    events.write("started", given)
    while not stop_requested(folder):
        events.write("log", {"text": "alive"})
        time.sleep(0.02)
    events.write("finished", {"state": "stopped"})
    write_state(folder, replace(read_state(folder), state="stopped"))
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make launched runs run the stand-in."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "stand_in_trainer.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setattr("tleg.runs.launch.TRAINER_MODULE", "stand_in_trainer")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder whose files have names of the standard library's modules."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "json.py").write_text("raise SystemExit('the wrong json')")
    return folder


@pytest.fixture
def placed(runs_dir: Path, work: Path) -> RunFolder:
    """A run in that folder."""
    return create_run(runs_dir, kind="learn", recipe={}, folder=work)


def with_launch(run: RunFolder, **changes: Any) -> None:
    write_spec(run, replace(read_spec(run), launch=Launch(**changes)))


# --- commands


@pytest.mark.parametrize("options", [{}, {"devices": 1}])
def test_one_device_needs_no_torchrun(run: RunFolder, options: dict[str, int]) -> None:
    with_launch(run, **options)
    assert trainer_command(run, read_spec(run)) == [sys.executable, "-m", "tleg.training", str(run.path)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"devices": 4}, "--nnodes 1 --nproc-per-node 4 --max-restarts 0 --standalone"),
        ({"devices": 2, "max_restarts": 3}, "--nnodes 1 --nproc-per-node 2 --max-restarts 3 --standalone"),
        ({"max_restarts": 3}, "--nnodes 1 --nproc-per-node 1 --max-restarts 3 --standalone"),
        (
            {"devices": 4, "nodes": 2},
            "--nnodes 2 --nproc-per-node 4 --max-restarts 0 --rdzv-backend c10d --rdzv-endpoint HOST:29400 --rdzv-id ID",
        ),
    ],
)
def test_several_processes_or_restarts_need_torchrun(run: RunFolder, options: dict[str, int], words: str) -> None:
    with_launch(run, **options)
    words = words.replace("HOST", os.uname().nodename).replace("ID", run.id)
    expected = [sys.executable, "-m", "torch.distributed.run", *words.split(), "-m", "tleg.training", str(run.path)]
    assert trainer_command(run, read_spec(run)) == expected


def test_the_line_for_each_machine(tmp_path: Path) -> None:
    run = create_run(tmp_path / "my runs", kind="learn", recipe={}, launch=Launch(4, 2))
    words = shlex.split(node_command(run, read_spec(run), host="head", port=1234))
    assert words == [
        "torchrun", "--nnodes=2", "--nproc-per-node=4", "--rdzv-backend=c10d", "--rdzv-endpoint=head:1234",
        f"--rdzv-id={run.id}", "-m", "tleg.training", str(run.path),
    ]  # fmt: skip
    with_launch(run, devices=4, nodes=2, max_restarts=1)
    default = shlex.split(node_command(run, read_spec(run)))
    assert default[3:6] == ["--max-restarts=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={os.uname().nodename}:29400"]


# --- processes


@pytest.mark.usefixtures("stand_in")
def test_a_launched_trainer(
    placed: RunFolder, work: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("OMP_NUM_THREADS")
    request_stop(placed)  # An earlier one, which a new start takes back.
    placed.log_file.write_text("earlier\n")
    pid = launch(placed)
    state = read_state(placed)
    assert (state.launcher_pid, state.launcher_started, state.boot) == (pid, start_ticks(pid), boot_id())
    assert state.state in ("starting", "running")
    assert observe(placed).state in ("starting", "running")
    try:
        first = eventually(lambda: EventReader(placed).read())[0]
        assert first.payload == {
            "cwd": str(work), "sid": pid, "stdin": "/dev/null", "hup": True, "state": "starting", "launcher": pid,
            "threads": "1", "world": None, "locked_before": True,
        }  # fmt: skip
        assert os.getsid(0) != pid
        assert is_locked(placed)
        with pytest.raises(InputError, match=f"run {placed.id} is running already on {os.uname().nodename}; stop it first"):
            launch(placed)
        request_stop(placed)
        eventually(lambda: observe(placed).state == "stopped")
        eventually(lambda: not Path(f"/proc/{pid}").exists())  # Collected, not left as a zombie.
        assert placed.log_file.read_text() == "earlier\nout\nerr\n"
        assert EventReader(placed).read()[-1].type == "finished"
    finally:
        if is_locked(placed):
            kill_run(placed)


@pytest.mark.usefixtures("stand_in")
def test_a_trainer_outlives_the_terminal_and_its_launcher(
    placed: RunFolder, program: Callable[..., "subprocess.Popen[str]"], eventually: Callable[..., Any]
) -> None:
    code = """
import os, sys, time
from pathlib import Path
import tleg.runs.launch
from tleg.runs.launch import RunFolder
tleg.runs.launch.TRAINER_MODULE = "stand_in_trainer"
print(tleg.runs.launch.launch(RunFolder(Path(sys.argv[1]))), flush=True)
time.sleep(60)
"""
    launcher = program(code, placed.path, start_new_session=True)
    assert launcher.stdout is not None
    trainer = int(launcher.stdout.readline())
    try:
        eventually(lambda: len(EventReader(placed).read()) > 2)
        os.killpg(launcher.pid, signal.SIGHUP)
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        os.kill(trainer, signal.SIGHUP)
        seen = len(EventReader(placed).read())
        eventually(lambda: len(EventReader(placed).read()) > seen + 3)
        assert observe(placed).state == "running"
    finally:
        kill_run(placed)
    assert observe(placed).state == "stopped"


@pytest.mark.usefixtures("stand_in")
def test_of_two_who_launch_at_once_one_does(
    placed: RunFolder, program: Callable[..., "subprocess.Popen[str]"], eventually: Callable[..., Any]
) -> None:
    code = """
import sys
from pathlib import Path
import tleg.runs.launch
from tleg.errors import InputError
from tleg.runs.launch import RunFolder
tleg.runs.launch.TRAINER_MODULE = "stand_in_trainer"
input()
try:
    print(tleg.runs.launch.launch(RunFolder(Path(sys.argv[1]))))
except InputError as error:
    print("refused")
"""
    launchers = [program(code, placed.path) for _ in range(3)]
    for each in launchers:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    answers = []
    for each in launchers:
        assert each.stdout is not None
        answers.append(each.stdout.readline().strip())
    try:
        assert sorted(answers)[1:] == ["refused", "refused"]
        eventually(lambda: is_locked(placed) and observe(placed).state == "running")
        # The stand-in says so after its state.
        eventually(lambda: any(event.type == "started" for event in EventReader(placed).read()))
    finally:
        kill_run(placed)
    assert [event.type for event in EventReader(placed).read()].count("started") == 1


@pytest.mark.usefixtures("stand_in")
def test_a_run_goes_on_after_its_trainer_was_killed(placed: RunFolder, eventually: Callable[..., Any]) -> None:
    first = launch(placed)
    eventually(lambda: len(EventReader(placed).read()) > 2)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: observe(placed).state == "lost")
    second = launch(placed)
    assert second != first
    try:
        eventually(lambda: [event.type for event in EventReader(placed).read()].count("started") == 2)
        assert observe(placed).state == "running"
        numbers = [event.seq for event in EventReader(placed).read()]
        assert numbers == list(range(len(numbers)))
    finally:
        kill_run(placed)


@pytest.mark.usefixtures("stand_in")
def test_a_trainer_that_dies_at_once_is_lost(
    placed: RunFolder, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    monkeypatch.setattr("tleg.runs.launch.TRAINER_MODULE", "no_such_module")
    launch(placed)
    eventually(lambda: observe(placed).state == "lost")
    assert "No module named no_such_module" in placed.log_file.read_text()


@pytest.mark.usefixtures("stand_in")
def test_a_trainer_does_nothing_before_its_process_is_noted(
    placed: RunFolder, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    """With a disk too full for the state nobody could find the process again, so it must not begin."""
    started: list[int] = []

    def full(_folder: RunFolder, state: RunState) -> None:
        assert state.launcher_pid is not None
        started.append(state.launcher_pid)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tleg.runs.launch.store_state", full)
    with pytest.raises(TlegError, match=f"cannot start run {placed.id}: No space left on device"):
        launch(placed)
    eventually(lambda: start_ticks(started[0]) is None)
    time.sleep(0.2)
    assert placed.log_file.read_text() == ""
    assert not placed.events_file.exists()
    assert read_state(placed).state == "queued"
    assert not is_locked(placed)


@pytest.mark.usefixtures("stand_in")
def test_a_process_that_the_log_cannot_be_opened_for(placed: RunFolder) -> None:
    placed.log_file.mkdir()
    with pytest.raises(TlegError, match=f"cannot start run {placed.id}: Is a directory"):
        launch(placed)
    assert not is_locked(placed)


def test_a_working_folder_that_is_gone(placed: RunFolder, work: Path) -> None:
    shutil.rmtree(work)
    with pytest.raises(InputError, match=f"run {placed.id} works in {work}, which is no folder any more"):
        launch(placed)


def test_a_locked_run_is_not_launched(placed: RunFolder) -> None:
    request_stop(placed)
    with RunLock(placed), pytest.raises(InputError, match="is being started, or is just ending; try again"):
        launch(placed)
    assert stop_requested(placed)


def test_a_run_whose_launcher_lives_is_not_launched(
    placed: RunFolder, program: Callable[..., "subprocess.Popen[str]"]
) -> None:
    torchrun = program("input()")
    state = RunState(
        state="running", host=os.uname().nodename, launcher_pid=torchrun.pid, launcher_started=start_ticks(torchrun.pid)
    )
    write_state(placed, state)
    with pytest.raises(InputError, match=f"is running already on {os.uname().nodename}; stop it first"):
        launch(placed)
    write_state(placed, replace(state, state="stopped"))  # It said its last word, but has not ended.
    with pytest.raises(InputError, match=f"process {torchrun.pid} of run {placed.id} has not ended yet"):
        launch(placed)
    assert not is_locked(placed)


def test_a_run_at_work_on_another_machine_is_not_launched(placed: RunFolder) -> None:
    write_state(placed, RunState(state="running", host="node7", heartbeat=time.time()))
    with pytest.raises(InputError, match=f"run {placed.id} is running already on node7; stop it first"):
        launch(placed)


@pytest.mark.usefixtures("stand_in")
def test_a_job_that_waits_is_not_launched_and_one_that_ended_is_no_job_any_more(
    placed: RunFolder, eventually: Callable[..., Any]
) -> None:
    with_launch(placed, job_id="12")
    with pytest.raises(InputError, match=f"run {placed.id} waits for its turn as job 12; stop it first"):
        launch(placed)
    write_state(placed, RunState(state="stopped"))
    launch(placed)
    try:
        assert read_spec(placed).launch.job_id is None
        eventually(lambda: observe(placed).state == "running")
    finally:
        kill_run(placed)
