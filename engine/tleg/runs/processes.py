"""Processes of this machine, told apart from later ones that were given the same number. From /proc, without the clock."""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

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
