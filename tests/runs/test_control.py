"""Stopping, killing and removing runs, and what must never be killed or removed."""

import errno
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import InputError, TlegError
from tleg.runs.control import clear_stop, is_run, kill_run, remove_run, request_stop, stop_requested
from tleg.runs.events import EventReader
from tleg.runs.lock import RunLock, is_locked
from tleg.runs.processes import boot_id, find_process, start_ticks
from tleg.runs.run import CONTENTS, RunFolder
from tleg.runs.spec import read_spec, write_spec
from tleg.runs.state import RunState, observe, read_state, write_state

Program = Callable[..., "subprocess.Popen[str]"]
HERE = os.uname().nodename

# A launcher as torchrun is one: each of its trainers has a session of its own, the first is started again when it dies, and
# forks a worker.
LAUNCHER = """
import os, subprocess, sys
trainer = '''
import os, sys, time
from pathlib import Path
from tleg.runs.launch import RunFolder
from tleg.runs.lock import RunLock
lock = RunLock(RunFolder(Path(sys.argv[1])))
assert lock.acquire()
worker = os.fork()
if worker:
    print(os.getpid(), worker, flush=True)
time.sleep(60)
'''
second = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(second.pid, flush=True)
while True:
    subprocess.run([sys.executable, "-c", trainer, sys.argv[1]], start_new_session=True)
"""


def note(run: RunFolder, launcher: int, **changes: Any) -> RunState:
    state = RunState(state="running", host=HERE, boot=boot_id(), step=5, launcher_pid=launcher)
    state = replace(state, **({"launcher_started": start_ticks(launcher)} | changes))
    assert write_state(run, state)
    return state


# --- stop


def test_a_request_to_stop(run: RunFolder) -> None:
    assert not stop_requested(run)
    request_stop(run)
    request_stop(run)
    assert stop_requested(run)
    assert [path.name for path in run.path.iterdir() if path.name.startswith("stop")] == ["stop"]
    clear_stop(run)
    clear_stop(run)
    assert not stop_requested(run)


def test_a_request_that_cannot_be_made(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.open", full)
        with pytest.raises(TlegError, match=f"cannot ask run {run.id} to stop: No space left on device"):
            request_stop(run)
    shutil.rmtree(run.path)
    assert not stop_requested(run)
    clear_stop(run)
    with pytest.raises(TlegError, match="No such file or directory"):
        request_stop(run)


# --- kill


def test_kill_ends_launcher_trainers_and_workers(run: RunFolder, program: Program) -> None:
    launcher = program(LAUNCHER, run.path, start_new_session=True)
    assert launcher.stdout is not None
    second = int(launcher.stdout.readline())
    trainer, worker = map(int, launcher.stdout.readline().split())
    assert os.getpgid(trainer) != os.getpgid(launcher.pid)
    note(run, launcher.pid, pid=trainer, started=start_ticks(trainer))
    assert is_locked(run)
    kill_run(run)
    assert launcher.wait(timeout=120) == -signal.SIGKILL
    assert [find_process(pid) for pid in (launcher.pid, trainer, worker, second)] == [None] * 4
    assert not is_locked(run)
    assert launcher.stdout.read() == "", "no trainer was started again"
    state = observe(run)
    assert (state.state, state.message, state.exit_code, state.step) == ("stopped", "killed", 137, 5)
    last = EventReader(run).read()[-1]
    assert last.type == "finished"
    assert last.payload == {"state": "stopped", "reason": "killed", "exit_code": 137, "step": 5, "result": None}


def test_kill_finds_the_trainer_when_its_launcher_is_gone(run: RunFolder, program: Program) -> None:
    trainer = program("input()", start_new_session=True)
    started = start_ticks(trainer.pid)
    note(run, 2**22 + 1, launcher_started=1, pid=trainer.pid, started=started)
    kill_run(run)
    assert trainer.wait(timeout=120) == -signal.SIGKILL


def test_kill_ends_a_process_that_does_not_listen(run: RunFolder, program: Program) -> None:
    deaf = program(
        "import signal, time\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n"
        "print(flush=True); time.sleep(60)",
        start_new_session=True,
    )
    assert deaf.stdout is not None
    deaf.stdout.readline()
    note(run, deaf.pid)
    kill_run(run)
    assert deaf.wait(timeout=120) == -signal.SIGKILL


@pytest.mark.parametrize("change", [{"launcher_started": 1}, {"launcher_started": None}, {"boot": "another"}])
def test_a_process_that_took_over_the_number_is_never_killed(
    run: RunFolder, program: Program, change: dict[str, Any]
) -> None:
    stranger = program("input()", start_new_session=True)
    note(run, stranger.pid, **change)
    with pytest.raises(InputError, match=f"run {run.id} is not running; nothing to kill"):
        kill_run(run)
    assert stranger.poll() is None
    assert read_state(run).state == "running"


def test_processes_beside_the_run_are_spared(run: RunFolder, program: Program) -> None:
    """Started from a shell without job control, a trainer shares the group of what started it."""
    neighbour, trainer = program("input()"), program("input()")
    assert os.getpgid(trainer.pid) == os.getpgid(neighbour.pid) == os.getpgrp()
    note(run, trainer.pid)
    kill_run(run)
    assert trainer.wait(timeout=120) == -signal.SIGKILL
    assert neighbour.poll() is None


def test_kill_on_another_machine(run: RunFolder, program: Program) -> None:
    process = program("input()", start_new_session=True)
    note(run, process.pid, host="elsewhere")
    with pytest.raises(InputError, match=f"run {run.id} is on elsewhere; kill it there, or ask it to stop from here"):
        kill_run(run)
    assert process.poll() is None


def test_kill_of_a_job(run: RunFolder) -> None:
    spec = read_spec(run)
    write_spec(run, replace(spec, launch=replace(spec.launch, job_id="12")))
    with pytest.raises(InputError, match=f"run {run.id} is job 12 of SLURM; scancel 12 ends it"):
        kill_run(run)


def test_kill_of_a_run_that_has_not_said_its_process(run: RunFolder) -> None:
    with RunLock(run), pytest.raises(InputError, match="has not said in which process"):
        kill_run(run)


def test_kill_keeps_the_last_word_of_a_trainer_that_hangs_at_its_end(run: RunFolder, program: Program) -> None:
    process = program("input()", start_new_session=True)
    state = note(run, process.pid, state="finished", message="done", exit_code=0)
    kill_run(run)
    assert process.wait(timeout=120) == -signal.SIGKILL
    assert read_state(run) == state
    assert not run.events_file.exists()


# --- remove


def test_remove(run: RunFolder) -> None:
    (run.checkpoints / "step-5").mkdir()
    (run.checkpoints / "step-5" / "model.safetensors").write_text("x")
    write_state(run, RunState(state="finished"))
    remove_run(run)
    assert list(run.path.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["starting", "running", "stopping"])
def test_a_living_run_is_not_removed(run: RunFolder, name: Any) -> None:
    write_state(run, RunState(state=name, host=HERE))
    with RunLock(run), pytest.raises(InputError, match=f"run {run.id} is {name}; stop it first"):
        remove_run(run)
    remove_run(run)
    assert not run.path.exists()


@pytest.mark.parametrize("name", ["queued", "finished"])
def test_a_locked_run_is_not_removed_whatever_its_state_says(run: RunFolder, program: Program, name: Any) -> None:
    code = (
        "import sys; from pathlib import Path; from tleg.runs.run import RunFolder; from tleg.runs.lock import RunLock\n"
        "lock = RunLock(RunFolder(Path(sys.argv[1]))); print(lock.acquire(), flush=True); input()"
    )
    process = program(code, run.path)
    assert process.stdout is not None
    process.stdout.readline()
    write_state(run, RunState(state=name))
    with pytest.raises(InputError, match="is running; stop it first"):
        remove_run(run)
    assert run.spec_file.exists()


def test_what_killed_commands_left_is_removed_with_the_next_run(run: RunFolder) -> None:
    old = [run.path.with_name(name) for name in (".x.0123abcd.removed", ".y.0123abcd.tmp")]
    kept = [run.path.with_name(name) for name in (".z.0123abcd.removed", ".config", ".mine.tmp")]
    for path in (*old, *kept):
        path.mkdir()
        (path / "file").write_text("x")
        if path is not kept[0]:
            os.utime(path, (0, 0))
    remove_run(run)
    assert sorted(run.path.parent.iterdir()) == sorted(kept)


def test_a_job_that_waits_is_not_removed(run: RunFolder) -> None:
    spec = read_spec(run)
    write_spec(run, replace(spec, launch=replace(spec.launch, job_id="12")))
    with pytest.raises(InputError, match=f"run {run.id} waits for its turn as job 12; stop it first"):
        remove_run(run)
    write_state(run, RunState(state="stopped"))
    remove_run(run)
    assert not run.path.exists()


def test_links_are_not_followed(run: RunFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    (run.exports / "link").symlink_to(precious, target_is_directory=True)
    (run.path / "checkpoints").rmdir()
    (run.path / "checkpoints").symlink_to(precious, target_is_directory=True)
    link = tmp_path / "link"
    link.symlink_to(run.path, target_is_directory=True)
    with pytest.raises(InputError, match="is a link; remove the run that it leads to, or the link itself"):
        remove_run(RunFolder(link))
    remove_run(run)
    assert not run.path.exists()
    assert (precious / "data").read_text() == "x"


@pytest.mark.parametrize("spec", [None, "{}", '{"version": 1, "name": "my project"}'])
def test_what_is_no_run_is_not_removed(tmp_path: Path, spec: str | None) -> None:
    folder = RunFolder(tmp_path / "project")
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("x")
    if spec is not None:
        folder.spec_file.write_text(spec)
    with pytest.raises(InputError, match="is not a run; tleg removes its own runs alone"):
        remove_run(folder)
    assert (folder.path / "thesis.tex").read_text() == "x"


def test_a_missing_folder_is_no_run(tmp_path: Path) -> None:
    assert not is_run(RunFolder(tmp_path / "none"))
    with pytest.raises(InputError, match="is not a run"):
        remove_run(RunFolder(tmp_path / "none"))


def test_a_damaged_run_is_removed(run: RunFolder) -> None:
    for path in (run.events_file, run.log_file, run.stop_file, run.job_file, run.path / ".state.json.1.2.tmp"):
        path.write_text("x")
    run.state_file.write_text("{")
    run.spec_file.write_text("{")
    assert is_run(run)
    remove_run(run)
    assert not run.path.exists()


def test_a_damaged_run_with_everything_that_tleg_puts_there_is_removed(run: RunFolder) -> None:
    for name in CONTENTS:
        path = run.path / name.replace("*", "tensorboard")
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
            (path / "file").write_text("x")
        else:
            path.write_text("{")
            path.with_name(f".{path.name}.0123abcd.tmp").write_text("x")
    assert is_run(run)
    remove_run(run)
    assert not run.path.exists()


@pytest.mark.parametrize("name", ["thesis.tex", "tensorboard", "checkpoints.tar", "tracked.json", ".state.json", ".x.1.tmp"])
def test_a_damaged_run_with_a_file_of_somebody_else_is_not_removed(run: RunFolder, name: str) -> None:
    run.spec_file.write_text("{")
    (run.path / name).write_text("x")
    with pytest.raises(InputError, match="is not a run; tleg removes its own runs alone"):
        remove_run(run)
    assert (run.path / name).read_text() == "x"


def test_the_documents_list_the_files_of_a_run() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "runs.md").read_text()
    listed = re.findall(r"^        (\S+) +(.+)$", document, re.MULTILINE)[: len(CONTENTS)]
    assert dict(listed) == dict(CONTENTS)


def test_what_cannot_be_removed_whole_says_where_the_rest_is(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_path: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr("shutil.rmtree", busy)
    with pytest.raises(TlegError, match=rf"cannot remove .*resource busy; the rest is in .*/\.{run.id}\.\w+\.removed"):
        remove_run(run)
    assert not run.path.exists()
