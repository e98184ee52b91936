"""The lock says whether a trainer lives: through forks, kills, programs it starts, and any number of viewers."""

import errno
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import InputError, TlegError
from tleg.runs.lock import RunLock, is_locked
from tleg.runs.run import RunFolder

Program = Callable[..., "subprocess.Popen[str]"]

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from tleg.runs.launch import RunFolder
from tleg.runs.lock import RunLock, is_locked
folder = RunFolder(Path(sys.argv[1]))
lock = RunLock(folder)
print(lock.acquire(), flush=True)
"""


def holder(program: Program, run: RunFolder, more: str = "") -> "subprocess.Popen[str]":
    process = program(f"{HOLD}{more}\ntime.sleep(60)", run.path)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()


def open_files(pid: int) -> set[str]:
    return {os.path.realpath(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}


def test_a_killed_holder_frees_the_lock(run: RunFolder, program: Program) -> None:
    assert not is_locked(run)
    process = holder(program, run)
    assert is_locked(run)
    assert not RunLock(run).acquire(timeout=0.05)
    end(process)
    assert not is_locked(run)
    lock = RunLock(run)
    assert lock.acquire(timeout=0)
    lock.release()


def test_a_forked_worker_that_outlives_its_killed_parent_does_not_hold_the_lock(run: RunFolder, program: Program) -> None:
    fork = """
pid = os.fork()
if pid == 0:
    time.sleep(60)
print(pid, flush=True)
"""
    process = holder(program, run, fork)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    try:
        assert is_locked(run)
        end(process)
        os.kill(worker, 0)  # It lives, with the descriptor that it inherited.
        assert str(run.lock_file) in {
            os.path.realpath(f"/proc/{worker}/fd/{name}") for name in os.listdir(f"/proc/{worker}/fd")
        }
        assert not is_locked(run)
        with RunLock(run):
            assert is_locked(run)
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_forked_worker_that_ends_or_looks_does_not_free_the_lock(run: RunFolder, program: Program) -> None:
    fork = """
pid = os.fork()
if pid == 0:
    print(is_locked(folder), flush=True)
    lock.release()
    sys.exit()
os.waitpid(pid, 0)
print("ended", flush=True)
"""
    process = holder(program, run, fork)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["True\n", "ended\n"]
    assert is_locked(run)


def test_a_program_that_the_holder_starts_does_not_inherit_the_lock(run: RunFolder, program: Program) -> None:
    start = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
print(child.pid, flush=True)
"""
    process = holder(program, run, start)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        end(process)
        assert not is_locked(run)
        assert str(run.lock_file) not in open_files(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_looking_at_its_own_lock_does_not_free_it(run: RunFolder, program: Program) -> None:
    lock = RunLock(run)
    assert lock.acquire()
    assert is_locked(run)
    assert is_locked(RunFolder(run.path / ".." / run.id))
    assert not RunLock(run).acquire(timeout=0)
    other = HOLD.replace("lock.acquire()", "is_locked(folder), lock.acquire(timeout=0.05)")
    assert program(other, run.path).communicate(timeout=120)[0] == "True False\n"
    lock.release()
    assert not is_locked(run)


def test_the_lock_is_taken_between_the_looks_of_many_viewers(run: RunFolder, program: Program) -> None:
    """Looks take the lock for a moment; a trainer that starts meanwhile must get it, and no look may take it away."""
    look = HOLD.partition("lock =")[0] + "print(flush=True)\nwhile True: is_locked(folder)"
    looking = [program(look, run.path) for _ in range(3)]
    for process in looking:
        assert process.stdout is not None
        process.stdout.readline()
    for _ in range(50):
        lock = RunLock(run)
        assert lock.acquire()
        assert is_locked(run)
        lock.release()


def test_acquire_waits_for_a_holder_that_ends(run: RunFolder, program: Program) -> None:
    process = holder(program, run)
    timer = threading.Timer(0.3, end, [process])
    timer.start()
    lock = RunLock(run)
    assert lock.acquire(timeout=120)
    lock.release()
    timer.join()


def test_acquire_gives_up_in_time(run: RunFolder, program: Program) -> None:
    holder(program, run)
    start = time.monotonic()
    assert not RunLock(run).acquire(timeout=0.2)
    assert 0.2 <= time.monotonic() - start < 5


def test_as_a_context(run: RunFolder, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunLock(run):
        assert is_locked(run)
    assert not is_locked(run)
    holder(program, run)
    monkeypatch.setattr(RunLock.acquire, "__defaults__", (0.05,))
    with pytest.raises(InputError, match=f"run {run.id} is running already; stop it first"), RunLock(run):
        pass


def test_release_twice_and_without_acquire(run: RunFolder) -> None:
    lock = RunLock(run)
    lock.release()
    assert lock.acquire()
    lock.release()
    lock.release()
    assert not is_locked(run)


def test_a_lock_file_that_is_replaced_while_it_is_taken(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock on a file that is gone protects nothing: the next one is taken."""
    lockf, removed = fcntl.lockf, list[Path]()

    def remove_first(descriptor: int, operation: int) -> None:
        if not removed:
            run.lock_file.unlink()
            removed.append(run.lock_file)
        lockf(descriptor, operation)

    monkeypatch.setattr("fcntl.lockf", remove_first)
    lock = RunLock(run)
    assert lock.acquire()
    assert removed
    assert is_locked(run)
    assert lock._file == (run.lock_file.stat().st_dev, run.lock_file.stat().st_ino)
    lock.release()


def test_a_file_system_without_locks(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", none)
    with pytest.raises(TlegError, match=r"cannot lock .*run\.lock: No locks available; TLEG_RUNS names a folder for runs"):
        RunLock(run).acquire()
    assert is_locked(run), "what cannot be told counts as alive"


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "none")
    assert not is_locked(folder)
    (tmp_path / "file").write_text("")
    assert not is_locked(RunFolder(tmp_path / "file"))
    with pytest.raises(TlegError, match="No such file or directory"):
        RunLock(folder).acquire(timeout=0)


def test_looking_makes_no_file(run: RunFolder) -> None:
    assert not is_locked(run)
    assert not run.lock_file.exists()


def test_looking_needs_no_permission_to_write(run: RunFolder, program: Program) -> None:
    holder(program, run)
    run.lock_file.chmod(0o444)
    run.path.chmod(0o555)
    try:
        assert is_locked(run)
    finally:
        run.path.chmod(0o755)
