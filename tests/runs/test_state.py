"""Where a run stands: what is stored, and what is made of it when nobody is there any more."""

import errno
import json
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import FileFormatError
from tleg.runs.events import EventWriter
from tleg.runs.lock import RunLock
from tleg.runs.processes import all_processes, boot_id, find_process, is_alive, start_ticks
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec, write_spec
from tleg.runs.state import SILENCE_SECONDS, RunState, observe, read_state, recall_state, write_state

HERE = os.uname().nodename
NUMBERS = st.none() | st.integers(0, 2**40)
STATES = st.builds(
    RunState,
    state=st.sampled_from(["queued", "starting", "running", "stopping", "finished", "stopped", "failed"]),
    pid=NUMBERS,
    started=NUMBERS,
    host=st.none() | st.text(max_size=5),
    launcher_pid=NUMBERS,
    launcher_started=NUMBERS,
    step=NUMBERS,
    eta=st.none() | st.floats(0, 1e9),
    heartbeat=st.none() | st.floats(0, 1e10),
    message=st.none() | st.text(max_size=9),
    exit_code=st.none() | st.integers(-255, 255),
    result=st.none() | st.text(max_size=9),
)


@given(STATES)
def test_round_trip(run: RunFolder, state: RunState) -> None:
    assert write_state(run, state)
    assert read_state(run) == state


@pytest.mark.parametrize("eta", [math.inf, math.nan])
def test_numbers_that_are_not_finite_are_left_out(run: RunFolder, eta: float) -> None:
    assert write_state(run, RunState(state="running", eta=eta, step=3))
    assert read_state(run) == RunState(state="running", eta=None, step=3)


def test_readers_never_see_half_a_state(run: RunFolder) -> None:
    write_state(run, RunState(message="x"))
    stop = threading.Event()

    def work(letter: str) -> None:
        while not stop.is_set():
            assert write_state(run, RunState(message=letter * 3000))

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    try:
        seen = {(read_state(run).message or "")[:1] for _ in range(500)}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen <= {"x", "a", "b"}
    assert not list(run.path.glob(".state*"))


@pytest.mark.parametrize("call", ["write_text", "replace"])
def test_a_full_disk_leaves_the_old_state(run: RunFolder, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_state(run, RunState(state="running", step=1))
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text" if call == "write_text" else "os.replace", full)
        assert not write_state(run, RunState(state="running", step=2))
    assert read_state(run).step == 1
    assert not list(run.path.glob(".state*"))


def test_a_folder_that_is_gone(run: RunFolder) -> None:
    shutil.rmtree(run.path)
    assert not write_state(run, RunState())
    with pytest.raises(FileFormatError, match=r"cannot read .*state\.json: No such file"):
        read_state(run)
    assert observe(run) == RunState(state="lost", message="its folder was removed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[", "is not JSON"),
        ('{"state": "resting"}', r"state\.json\.state must be one of queued, starting"),
        ('{"step": "3"}', r"state\.json\.step must be a whole number"),
        ('{"mood": 1}', "unknown field 'mood'"),
    ],
)
def test_a_damaged_state_is_named_and_survived(run: RunFolder, text: str, message: str) -> None:
    run.state_file.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_state(run)
    assert observe(run).state == "queued"


STARTED = {"step": 40, "steps": 900, "epochs": 9, "restart": 0, "host": HERE, "pid": 17, "world_size": 2}
FINISHED = {"state": "finished", "reason": "done", "exit_code": 0, "step": 900, "result": "out"}


def test_the_events_say_what_a_lost_state_said(run: RunFolder) -> None:
    run.state_file.unlink()
    with EventWriter(run) as writer:
        assert recall_state(run) == RunState()
        writer.write("started", STARTED)
        state = recall_state(run)
        assert (state.state, state.step, state.steps, state.epochs) == ("running", 40, 900, 9)
        assert (state.pid, state.started, state.host, state.world_size) == (17, None, HERE, 2)
        writer.write("step", {"step": 41, "steps": 900, "epoch": 1, "epochs": 9, "loss": 1.0})
        state = recall_state(run)
        assert (state.step, state.epoch, state.epochs) == (41, 1, 9)
        assert state.heartbeat == pytest.approx(time.time(), abs=60)
        assert observe(run).state == "lost"
        writer.write("finished", FINISHED)
    state = observe(run)
    assert (state.state, state.message, state.exit_code, state.result) == ("finished", "done", 0, "out")


# --- on this machine


@pytest.mark.parametrize("name", ["starting", "running", "stopping"])
def test_without_its_lock_a_run_at_work_is_lost(run: RunFolder, name: Any) -> None:
    state = RunState(state=name, pid=1, started=1, host=HERE, step=7, eta=3.0, heartbeat=time.time())
    write_state(run, state)
    lost = observe(run)
    assert lost == replace(state, state="lost", eta=None, message="its process is gone without a last word")
    with RunLock(run):
        assert observe(run) == state


@pytest.mark.parametrize("name", ["queued", "finished", "stopped", "failed"])
def test_a_run_that_waits_or_ended_is_not_lost(run: RunFolder, name: Any) -> None:
    write_state(run, RunState(state=name, host=HERE, heartbeat=0.0))
    assert observe(run).state == name


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps_decides_nothing_here(run: RunFolder, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    now = time.time()
    write_state(run, RunState(state="running", host=HERE, heartbeat=now))
    monkeypatch.setattr("time.time", lambda: now + jump)
    assert observe(run).state == "lost"
    with RunLock(run):
        assert observe(run).state == "running"


def test_a_living_launcher_keeps_a_run_alive_while_the_lock_is_free(
    run: RunFolder, program: Callable[..., "subprocess.Popen[str]"]
) -> None:
    launcher = program("input()")
    started = start_ticks(launcher.pid)
    state = RunState(state="running", host=HERE, boot=boot_id(), launcher_pid=launcher.pid, launcher_started=started)
    write_state(run, state)
    assert observe(run).state == "running"
    assert started is not None
    for other in (
        replace(state, launcher_started=started + 1),  # A later process with the same number.
        replace(state, launcher_started=None),
        replace(state, boot="another boot"),
    ):
        write_state(run, other)
        assert observe(run).state == "lost"
    write_state(run, state)
    launcher.kill()
    os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)  # Ended, and not looked at by its parent: a zombie.
    assert Path(f"/proc/{launcher.pid}").exists()
    assert observe(run).state == "lost"


def test_a_last_word_between_two_looks_counts(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(run, RunState(state="running", host=HERE))

    def end(_folder: RunFolder) -> bool:
        write_state(run, RunState(state="finished", host=HERE, exit_code=0))
        return False

    monkeypatch.setattr("tleg.runs.state.is_locked", end)
    assert observe(run).state == "finished"


# --- on another machine


@pytest.mark.parametrize("silence", [SILENCE_SECONDS - 20, SILENCE_SECONDS + 20])
@pytest.mark.parametrize("sign", ["heartbeat", "state.json", "events.jsonl"])
def test_a_silent_run_on_another_machine_is_lost(run: RunFolder, silence: float, sign: str) -> None:
    now = time.time()
    write_state(run, RunState(state="running", host="elsewhere", heartbeat=now - (silence if sign == "heartbeat" else 1e6)))
    run.events_file.write_text("")
    for path in (run.state_file, run.events_file):
        age = silence if path.name == sign else 1e6
        os.utime(path, (now - age, now - age))
    assert observe(run).state == ("lost" if silence > SILENCE_SECONDS else "running")


def test_the_message_about_a_silent_run_names_the_machine(run: RunFolder) -> None:
    write_state(run, RunState(state="running", host="node7", heartbeat=time.time() - 1000))
    os.utime(run.state_file, (0, 0))
    assert (observe(run).message or "").startswith("nothing heard from node7 for 100")


def test_a_locked_run_on_another_machine_is_alive(run: RunFolder) -> None:
    write_state(run, RunState(state="running", host="elsewhere", heartbeat=0.0))
    os.utime(run.state_file, (0, 0))
    with RunLock(run):
        assert observe(run).state == "running"


def test_processes_of_another_machine_are_not_looked_for_here(run: RunFolder) -> None:
    me = os.getpid()
    write_state(run, RunState(state="running", host="elsewhere", launcher_pid=me, launcher_started=start_ticks(me)))
    os.utime(run.state_file, (0, 0))
    assert observe(run).state == "lost"


def test_a_run_that_names_no_machine_is_where_it_was_made(run: RunFolder) -> None:
    write_spec(run, replace(read_spec(run), host="elsewhere"))
    write_state(run, RunState(state="running", heartbeat=time.time()))
    assert observe(run).state == "running"
    write_spec(run, replace(read_spec(run), host=HERE))
    assert observe(run).state == "lost"


def test_a_read_only_folder_can_be_looked_at(run: RunFolder) -> None:
    write_state(run, RunState(state="running", host=HERE))
    before = sorted(path.name for path in run.path.iterdir())
    run.path.chmod(0o555)
    try:
        assert observe(run).state == "lost"
    finally:
        run.path.chmod(0o755)
    assert sorted(path.name for path in run.path.iterdir()) == before


# --- processes


def test_processes_are_told_apart_by_their_start(program: Callable[..., "subprocess.Popen[str]"]) -> None:
    first = program("input()")
    process = find_process(first.pid)
    assert process is not None
    assert (process.pid, process.parent) == (first.pid, os.getpid())
    assert (process.group, process.session) == (os.getpgrp(), os.getsid(0))
    assert process == all_processes()[first.pid]
    assert is_alive(first.pid, process.started)
    assert not is_alive(first.pid, process.started - 1)
    assert not is_alive(first.pid, None)
    assert not is_alive(None, process.started)
    first.kill()
    first.wait()
    assert find_process(first.pid) is None
    assert not is_alive(first.pid, process.started)


def test_a_name_with_spaces_and_parentheses(program: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    import sys

    name = tmp_path / "a) S (b"
    name.symlink_to(os.path.realpath(sys.executable))
    process = subprocess.Popen([name, "-S", "-c", "input()"], stdin=subprocess.PIPE, env={"PYTHONHOME": sys.base_prefix})
    try:
        for _ in range(500):
            if ") S (b" in Path(f"/proc/{process.pid}/comm").read_text():
                break
            time.sleep(0.01)
        found = find_process(process.pid)
        assert found is not None
        assert found.parent == os.getpid()
    finally:
        process.kill()
        process.communicate()


def test_the_file_is_one_line_of_json(run: RunFolder) -> None:
    write_state(run, RunState(state="running", message="ä\nb"))
    text = run.state_file.read_text("ascii")
    assert text.count("\n") == 1
    assert json.loads(text)["message"] == "ä\nb"
