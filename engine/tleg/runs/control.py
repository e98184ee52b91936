"""What may be done to a run from outside: ask it to stop, kill it, remove it."""

import os
import re
import shutil
import signal
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from tleg.errors import InputError, TlegError, describe_os_error
from tleg.runs.allowed import check_allowed
from tleg.runs.events import EventWriter
from tleg.runs.lock import RunLock, is_locked
from tleg.runs.processes import Process, all_processes, boot_id, find_process, hostname
from tleg.runs.reports import FinishReport
from tleg.runs.run import RunFolder, belongs
from tleg.runs.spec import read_spec
from tleg.runs.state import RunState, home_of, observe, recall_state, write_state

_PATIENCE_SECONDS: Final = 10.0
_STALE_SECONDS: Final = 24 * 3600


def request_stop(folder: RunFolder) -> None:
    """Ask the trainer to finish its step, save and end. Asking twice is asking once. Raises TlegError when refused."""
    try:
        os.close(os.open(folder.stop_file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError as error:
        raise TlegError(
            f"cannot ask run {folder.id} to stop: {describe_os_error(error)}: {folder.stop_file}", code="system"
        ) from error


def stop_requested(folder: RunFolder) -> bool:
    """Whether the trainer was asked to stop. Cheap enough for every step."""
    return os.path.exists(folder.stop_file)


def clear_stop(folder: RunFolder) -> None:
    """Take back a request to stop, if there is one. Raises TlegError when the operating system refuses."""
    try:
        folder.stop_file.unlink(missing_ok=True)
    except OSError as error:
        raise TlegError(f"cannot remove {folder.stop_file}: {describe_os_error(error)}", code="system") from error


def kill_run(folder: RunFolder) -> None:
    """End every process of a run at once, without a word and without a checkpoint; the run is then stopped.

    Only processes on this machine whose number and start are those that the run noted, their groups and their descendants
    are killed, so that a later process with the same number is never hit. Returns when they are gone. Raises InputError for
    a run on another machine, a job of SLURM, or one that is not running, and TlegError when the operating system refuses.
    """
    state = recall_state(folder)
    if (job_id := _job_of(folder)) is not None:
        raise InputError(f"run {folder.id} is job {job_id} of SLURM; scancel {job_id} ends it", code="wrong-state")
    home = home_of(folder, state)
    if home != hostname():
        raise InputError(f"run {folder.id} is on {home}; kill it there, or ask it to stop from here", code="wrong-state")
    if not _roots(state):
        if is_locked(folder):
            raise InputError(
                f"run {folder.id} is running, but has not said in which process; try again in a moment", code="wrong-state"
            )
        raise InputError(f"run {folder.id} is not running; nothing to kill", code="wrong-state")
    _kill_all(folder, state)
    # The lock says that nobody else writes now.
    lock = RunLock(folder)
    with suppress(TlegError):
        if lock.acquire(timeout=1.0):
            try:
                latest = recall_state(folder)
                if not latest.terminal:
                    exit_code = 128 + signal.SIGKILL
                    with EventWriter(folder) as events:
                        events.report(FinishReport(state="stopped", reason="killed", exit_code=exit_code, step=latest.step))
                    stopped = replace(latest, state="stopped", message="killed", exit_code=exit_code, eta=None)
                    write_state(folder, replace(stopped, heartbeat=time.time()))
            finally:
                lock.release()


def remove_run(folder: RunFolder) -> None:
    """Remove a run's folder with everything in it. Links in it are removed, not followed.

    Raises InputError for a run that is at work or waits for its turn, and for what is no run; TlegError when the operating
    system refuses.
    """
    check_removable(folder)
    path = folder.path.absolute()
    lock = RunLock(folder)
    if not lock.acquire(timeout=0.5):
        raise InputError(f"run {folder.id} is running; stop it first", code="wrong-state")
    # Out of sight in one step; what a kill leaves behind then is no run any more.
    hidden = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.removed")
    try:
        os.rename(path, hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        rest = f"; the rest is in {hidden}" if hidden.exists() else ""
        raise TlegError(f"cannot remove {path}: {describe_os_error(error)}{rest}", code="system") from error
    finally:
        lock.release()
    _remove_leftovers(path.parent)


def check_removable(folder: RunFolder) -> None:
    """Refuse to remove a run that is at work or waits for its turn, and what is no run. Raises InputError."""
    path = folder.path.absolute()
    if path.is_symlink():
        raise InputError(f"{path} is a link; remove the run that it leads to, or the link itself", code="wrong-kind")
    if not is_run(RunFolder(path)):
        raise InputError(f"{path} is not a run; tleg removes its own runs alone", code="wrong-kind")
    check_allowed("remove", folder, observe(folder), _job_of(folder))


def _remove_leftovers(runs_dir: Path) -> None:
    """Remove what killed commands left half made or half removed, once it is older than a day."""
    name = re.compile(r"\..+\.[0-9a-f]{8}\.(tmp|removed)")
    with suppress(OSError):  # What cannot be tidied does no harm.
        for path in runs_dir.iterdir():
            if name.fullmatch(path.name) and not path.is_symlink() and path.stat().st_mtime < time.time() - _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def is_run(folder: RunFolder) -> bool:
    """Whether a folder is a run: its spec.json says so or, where that is damaged, it holds nothing but files of runs."""
    if not folder.spec_file.is_file() or folder.spec_file.is_symlink():
        return False
    with suppress(InputError):
        read_spec(folder)
        return True
    try:
        with os.scandir(folder.path) as entries:
            return all(belongs(entry) for entry in entries)
    except OSError:
        return False


def _job_of(folder: RunFolder) -> str | None:
    try:
        return read_spec(folder).launch.job_id
    except InputError:
        return None


def _roots(state: RunState) -> list[Process]:
    """The processes that a run noted, as far as they live."""
    if state.boot is not None and state.boot != boot_id():
        return []
    noted = {(state.launcher_pid, state.launcher_started), (state.pid, state.started)}
    found = [find_process(pid) for pid, started in noted if pid is not None and started is not None]
    return [process for process in found if process is not None and (process.pid, process.started) in noted]


def _kill_all(folder: RunFolder, state: RunState) -> None:
    members: dict[int, Process] = {}
    roots = _roots(state)
    # Stopped first: a launcher that is killed while it starts a trainer again would leave that one behind.
    for process in roots:
        _send(folder, process, signal.SIGSTOP)
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        table = all_processes()
        members = {pid: each for pid, each in members.items() if pid in table and table[pid].started == each.started}
        members |= _family(table, roots, members)
        if not members:
            return
        for process in members.values():
            _send(folder, process, signal.SIGKILL)
        if time.monotonic() >= end:
            numbers = ", ".join(str(pid) for pid in sorted(members))
            raise TlegError(
                f"run {folder.id} was killed, but does not end (process {numbers}); it may wait for a disk", code="system"
            )
        time.sleep(0.02)


def _family(table: dict[int, Process], roots: list[Process], members: dict[int, Process]) -> dict[int, Process]:
    """Roots and members that live, the groups and sessions that roots lead, and all descendants; never this process."""
    living = {root.pid for root in roots if root.pid in table and table[root.pid].started == root.started}
    leaders = {pid for pid in living if table[pid].group == pid}
    found = living | set(members)
    found |= {pid for pid, process in table.items() if process.group in leaders or process.session in leaders}
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    waiting = list(found)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return {pid: table[pid] for pid in found if pid in table and pid != os.getpid()}


def _send(folder: RunFolder, process: Process, number: signal.Signals) -> None:
    """Send a signal to exactly this process: the descriptor stays with it while its start is compared."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except OSError as error:
        raise TlegError(f"cannot kill run {folder.id}: {describe_os_error(error)}", code="system") from error
    try:
        latest = find_process(process.pid)
        if latest is not None and latest.started == process.started:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    except OSError as error:
        raise TlegError(
            f"cannot kill process {process.pid} of run {folder.id}: {describe_os_error(error)}", code="system"
        ) from error
    finally:
        os.close(descriptor)
