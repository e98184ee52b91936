"""SLURM's programs: run with patience, and asked where a job stands."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tleg.errors import InputError, TlegError, describe_os_error
from tleg.runs.processes import hostname

NUMBER: Final = re.compile(r"\d+", re.ASCII)
_PROGRAM_SECONDS: Final = 60
# A job in one of these will start its trainer yet, or go on with it.
_WAITING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SUSPENDED"})


def find_program(name: str) -> None:
    """Raise TlegError when a program of SLURM is not on this machine."""
    if shutil.which(name) is None:
        raise TlegError(f"there is no {name} on {hostname()}; log in to a machine of the cluster")


def run_program(words: Sequence[str]) -> str:
    """Return what a program of SLURM prints. Raises TlegError when it is missing, refuses, or does not answer."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PROGRAM_SECONDS
        )
    except FileNotFoundError as error:
        raise TlegError(f"there is no {words[0]} on {hostname()}; log in to a machine of the cluster") from error
    except subprocess.TimeoutExpired as error:
        raise TlegError(f"{words[0]} did not answer within {_PROGRAM_SECONDS} seconds; try again") from error
    except OSError as error:
        raise TlegError(f"cannot run {words[0]}: {describe_os_error(error)}") from error
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise TlegError(f"{words[0]} refused: {lines[0] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def cancel(job_id: str) -> None:
    """Take a job out of SLURM's queue, or end it. Raises TlegError when scancel is missing or refuses."""
    if not NUMBER.fullmatch(job_id):
        raise InputError(f"a job of SLURM has a number, not {job_id!r}")
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


def job_cancelled(job_id: str) -> bool:
    """Whether somebody took a job back with scancel; False where SLURM does not say."""
    if not NUMBER.fullmatch(job_id):
        return False
    with suppress(TlegError):
        return re.search(r"\bJobState=CANCELLED\b", run_program(["scontrol", "show", "job", job_id])) is not None
    return False
