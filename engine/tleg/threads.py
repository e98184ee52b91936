"""How many threads a process computes with: the processor's cores that it may use, shared with whoever else works for a run.

torch takes a thread for every core of the machine, whatever a container, a batch job or other processes of the run leave of
it, and then threads wait for each other. The standard library alone: it is decided before torch is imported.
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tleg.errors import InputError

AUTO: Final = "auto"
MOST: Final = 1024
# What the user said, where a launcher has to say something itself: empty for nothing.
GIVEN: Final = "TLEG_GIVEN_OMP_NUM_THREADS"
_OMP: Final = "OMP_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Threads:
    """A number of threads for each process, and why."""

    count: int
    reason: str


def parse_threads(text: str) -> int | None:
    """Return the number that a text means, None for 'auto'. Raises InputError."""
    if text == AUTO:
        return None
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII) or not 1 <= int(text) <= MOST:
        raise InputError(
            f"threads must be auto, or a whole number from 1 to {MOST}, not '{text}'", field="threads", code="malformed"
        )
    return int(text)


def choose_threads(
    text: str = AUTO,
    *,
    processes: int = 1,
    workers: int = 0,
    environment: Mapping[str, str] | None = None,
    recorded: int | None = None,
) -> Threads:
    """Return the threads of each of so many processes on this machine, each with so many workers.

    A number that is asked for counts first; then `recorded`, that of a run that goes on; then OMP_NUM_THREADS, when the user
    set it; then the physical cores that this process may use, divided among the processes, less their workers, and at least
    1. Raises InputError for a text that is none.
    """
    environment = os.environ if environment is None else environment
    asked = parse_threads(text)
    if asked is not None:
        return Threads(asked, "asked for")
    if recorded is not None:
        return Threads(recorded, "as when the run began")
    given = _given(environment)
    if given is not None:
        return Threads(given, f"{_OMP} says so")
    cores = available_cores(environment)
    job = environment.get("SLURM_CPUS_PER_TASK", "")
    if job.isdigit() and "SLURM_PROCID" in environment:  # Each task of a job has processors of its own.
        cores, processes = min(cores, int(job)), 1
    count = max(1, cores // processes - workers)
    parts = [f"{cores} core{'s' if cores > 1 else ''}"]
    if processes > 1:
        parts.append(f"{processes} processes")
    if workers:
        parts.append(f"{workers} worker{'s' if workers > 1 else ''}{' each' if processes > 1 else ''}")
    return Threads(count, ", ".join(parts))


def use_threads(count: int) -> None:
    """Let this process compute with so many threads. Takes effect for libraries that are imported after it.

    Threads that have nothing to do sleep: by default they burn the time of others, of workers and other runs, waiting.
    """
    os.environ[_OMP] = str(count)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def launched_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process that decides on its threads itself, also below torchrun.

    torchrun sets OMP_NUM_THREADS where nobody did; what the user said stands beside it.
    """
    return {**environment, GIVEN: environment.get(GIVEN, environment.get(_OMP, "")), _OMP: environment.get(_OMP) or "1"}


def available_cores(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> int:
    """Return the physical cores that this process may use: those of its affinity, and no more than its cgroup's time."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(number, root) for number in allowed}
    quota = _quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def _given(environment: Mapping[str, str]) -> int | None:
    """The number in OMP_NUM_THREADS, when the user put it there."""
    text = environment.get(GIVEN, environment.get(_OMP, ""))
    if GIVEN not in environment and text == "1" and "TORCHELASTIC_RUN_ID" in environment and not _launcher_had_it():
        return None
    first = text.split(",")[0].strip()  # OpenMP takes a list, for nested regions.
    return int(first) if first.isdigit() and 1 <= int(first) <= MOST else None


def _launcher_had_it() -> bool:
    """Whether the process that started this one, torchrun, had OMP_NUM_THREADS from the beginning."""
    try:
        content = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:
        return True
    return any(line.startswith(b"OMP_NUM_THREADS=") for line in content.split(b"\0"))


def _siblings(number: int, root: Path) -> str:
    """The processors that share a core with one, as the system writes them; where it does not, each is a core."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        with suppress(OSError):
            return (root / f"sys/devices/system/cpu/cpu{number}/topology/{name}").read_text("ascii").strip()
    return str(number)


def _quota(root: Path) -> float | None:
    """The processors whose time the cgroup of this process may use, the least of all above it; None without a limit."""
    found: list[float] = []
    with suppress(OSError, UnicodeDecodeError):
        for line in (root / "proc/self/cgroup").read_text("utf-8").splitlines():
            _, controllers, place = line.split(":", 2)
            mounts = ["sys/fs/cgroup"] if not controllers else [f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu"]
            if controllers and "cpu" not in controllers.split(","):
                continue
            for mount in mounts:
                found += _limits(root / mount, place)
    return min(found, default=None)


def _limits(mount: Path, place: str) -> list[float]:
    folder = mount / place.lstrip("/")
    limits = []
    for each in (folder, *folder.parents):
        if not each.is_relative_to(mount):
            break
        limit = _limit(each)
        if limit is not None:
            limits.append(limit)
    # In a container the group of the process may be mounted as the root.
    return limits


def _limit(folder: Path) -> float | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text("ascii"))
        return quota_us / int((folder / "cpu.cfs_period_us").read_text("ascii")) if quota_us > 0 else None
    return None
