"""Processes of this machine, told apart from later ones of the same number, and SLURM's programs."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tleg.errors import InputError, TlegError, describe_os_error

_PROC: Final = Path("/proc")
# A process that ended and waits for its parent to look ('Z'), and one that is being removed.
_ENDED: Final = frozenset("ZXx")
_THREADS: Final = 16  # Of the numbers after the state in /proc/PID/stat.


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its number, its parent's, its group's and its session's, and its start in clock ticks since boot."""

    pid: int
    parent: int
    group: int
    session: int
    started: int


def hostname() -> str:
    """The name of this machine."""
    return os.uname().nodename


@cache
def boot_id() -> str | None:
    """What tells this boot of the machine from every other, or None where the system does not say."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def find_process(pid: int) -> Process | None:
    """Return a living process, or None.

    One that ended but whose parent has not looked yet is not living, once all its threads have ended: a process of much
    memory that is killed holds its files, and their locks, until the last of them has gone.
    """
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
        # The name comes second, in parentheses, and may hold spaces and parentheses of its own.
        values = text[text.rindex(b")") + 1 :].split()
        state, numbers = values[0].decode("ascii"), [int(value) for value in values[1:20]]
    except (OSError, ValueError, IndexError):
        return None
    if state in _ENDED and numbers[_THREADS] <= 1:
        return None
    return Process(pid, numbers[0], numbers[1], numbers[2], numbers[18])


def start_ticks(pid: int) -> int | None:
    """When a living process started, in clock ticks since boot; None when there is no such process."""
    process = find_process(pid)
    return None if process is None else process.started


def started_at(pid: int) -> float | None:
    """When a living process started, as Unix time by the clock as it is now; None when there is no such process."""
    ticks = start_ticks(pid)
    if ticks is None:
        return None
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def is_alive(pid: int | None, started: int | None) -> bool:
    """Whether the very process lives that had this number and start. Without both, nothing is known: False."""
    return pid is not None and started is not None and start_ticks(pid) == started


def all_processes() -> dict[int, Process]:
    """Return the living processes of this machine that can be seen, by number."""
    try:
        numbers = [int(name) for name in os.listdir(_PROC) if name.isdecimal()]
    except OSError:
        return {}
    return {pid: process for pid in numbers if (process := find_process(pid)) is not None}


NUMBER: Final = re.compile(r"\d+", re.ASCII)
_PROGRAM_SECONDS: Final = 60
# A job in one of these will start its trainer yet, or go on with it.
_WAITING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SUSPENDED"})


def find_program(name: str) -> None:
    """Raise TlegError when a program of SLURM is not on this machine."""
    if shutil.which(name) is None:
        raise TlegError(f"there is no {name} on {hostname()}; log in to a machine of the cluster", code="not-installed")


def run_program(words: Sequence[str]) -> str:
    """Return what a program of SLURM prints. Raises TlegError when it is missing, refuses, or does not answer."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PROGRAM_SECONDS
        )
    except FileNotFoundError as error:
        raise TlegError(
            f"there is no {words[0]} on {hostname()}; log in to a machine of the cluster", code="not-installed"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TlegError(f"{words[0]} did not answer within {_PROGRAM_SECONDS} seconds; try again", code="system") from error
    except OSError as error:
        raise TlegError(f"cannot run {words[0]}: {describe_os_error(error)}", code="system") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise TlegError(f"{words[0]} refused: {lines[0] if lines else f'exit code {done.returncode}'}", code="system")
    return done.stdout


def cancel(job_id: str) -> None:
    """Take a job out of SLURM's queue, or end it. Raises TlegError when scancel is missing or refuses."""
    if not NUMBER.fullmatch(job_id):
        raise InputError(f"a job of SLURM has a number, not {job_id!r}", code="malformed")
    run_program(["scancel", job_id])


def job_waits(job_id: str | None) -> bool:
    """Whether a job is in SLURM's queue and will start, whatever the run says of itself: SLURM itself may put it back.

    False where SLURM does not say: the job ended long ago, or this is no machine of the cluster.
    """
    if job_id is None or not NUMBER.fullmatch(job_id):
        return False
    with suppress(TlegError):
        return run_program(["squeue", "--noheader", "--format=%T", f"--jobs={job_id}"]).strip() in _WAITING
    return False


def jobs_in_queue() -> frozenset[str] | None:
    """Return the numbers of this user's jobs in SLURM's queue, running or not; None where SLURM does not say."""
    with suppress(TlegError):
        return frozenset(run_program(["squeue", "--all", "--noheader", "--format=%A", f"--user={os.getuid()}"]).split())
    return None


def job_cancelled(job_id: str) -> bool:
    """Whether somebody took a job back with scancel; False where SLURM does not say."""
    if not NUMBER.fullmatch(job_id):
        return False
    with suppress(TlegError):
        return re.search(r"\bJobState=CANCELLED\b", run_program(["scontrol", "show", "job", job_id])) is not None
    return False
