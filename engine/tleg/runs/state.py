"""Where a run stands: what its trainer says, whether that can still be true, and why a process of it failed."""

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

from tleg.errors import ExitCode, FileFormatError, InputError, TlegError, describe_os_error
from tleg.files import new_file
from tleg.runs.events import EventReader
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.lock import is_locked
from tleg.runs.processes import boot_id, hostname, is_alive
from tleg.runs.run import RunFolder, read_document
from tleg.runs.spec import read_spec
from tleg.serialize import decode, encode, to_json


def store_failure(folder: RunFolder, code: ExitCode, reason: str) -> None:
    """Leave word, unless another process has already, or the folder cannot be written to."""
    if folder.exists:  # A run that was removed is not begun again.
        with suppress(TlegError), new_file(folder.failure_file) as file:
            file.write_text(json.dumps({"code": int(code), "reason": reason}))


def read_failure(folder: RunFolder) -> tuple[ExitCode, str] | None:
    """Return the exit code and the reason that a process left, or None. Never raises."""
    try:
        document = json.loads(folder.failure_file.read_text())
        return ExitCode(document["code"]), str(document["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear_failure(folder: RunFolder, before: float | None = None) -> None:
    """Remove what an earlier trainer left; with `before`, only what is older than this Unix time."""
    path = folder.failure_file
    with suppress(OSError):
        if before is None or path.stat().st_mtime < before:
            path.unlink()


StateName = Literal["queued", "starting", "running", "stopping", "finished", "stopped", "failed", "lost"]
TERMINAL: Final = frozenset({"finished", "stopped", "failed"})
# Nothing more will happen by itself.
ENDED: Final = TERMINAL | {"lost"}
# A run on another machine whose lock is free and that has said nothing for so long is lost.
SILENCE_SECONDS: Final = 120.0


# What is left of a run whose folder somebody removed, or moved, while it was shown.
REMOVED: Final = "its folder was removed"


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands.

    state             'lost' is never stored: it is what `observe` makes of a run whose trainer is gone without a word
    pid, started      the trainer that writes, and when it started in clock ticks since boot
    host, boot        the machine, and which of its boots (`tleg.runs.processes.boot_id`)
    launcher_pid, launcher_started  the process that was started for the run: torchrun, or the trainer itself
    step, steps, epoch, epochs      done, and in all
    eta               seconds to go
    heartbeat         Unix time at which this was written
    world_size        processes in all
    message           why it stands there, for people
    exit_code, result once it ended; `result` is a path
    """

    state: StateName = "queued"
    pid: int | None = None
    started: int | None = None
    host: str | None = None
    boot: str | None = None
    launcher_pid: int | None = None
    launcher_started: int | None = None
    step: int | None = None
    steps: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    eta: float | None = None
    heartbeat: float | None = None
    world_size: int | None = None
    message: str | None = None
    exit_code: int | None = None
    result: str | None = None

    @property
    def terminal(self) -> bool:
        """Whether the run ended: finished, stopped or failed."""
        return self.state in TERMINAL

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself: the run ended, or is lost."""
        return self.state in ENDED

    @property
    def at_work(self) -> bool:
        """Whether it is being trained."""
        return self.state in ("starting", "running", "stopping")


def going_on(state: RunState) -> RunState:
    """Return the state of a run that is to go on: how far it came, and nothing of the process and the end that it had."""
    return replace(
        state,
        state="queued",
        pid=None,
        started=None,
        launcher_pid=None,
        launcher_started=None,
        eta=None,
        message=None,
        exit_code=None,
        result=None,
    )


def store_state(folder: RunFolder, state: RunState) -> None:
    """Replace state.json in one step. Raises OSError."""
    text = to_json(encode(state)) + "\n"
    temporary = folder.path / f".state.json.{os.getpid()}.{threading.get_native_id()}.tmp"
    try:
        temporary.write_text(text, "ascii")
        os.replace(temporary, folder.state_file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def save_state(folder: RunFolder, state: RunState) -> None:
    """Replace state.json in one step. Raises TlegError when the operating system refuses."""
    try:
        store_state(folder, state)
    except OSError as error:
        raise TlegError(f"cannot write {folder.state_file}: {describe_os_error(error)}", code="system") from error


def write_state(folder: RunFolder, state: RunState) -> bool:
    """Replace state.json in one step; False when the operating system refuses, as it does with a full disk."""
    try:
        store_state(folder, state)
    except OSError:
        return False
    return True


def read_state(folder: RunFolder) -> RunState:
    """Return what state.json says. Raises FileFormatError, naming file and place, when it is missing or damaged."""
    path = folder.state_file
    return decode(RunState, read_document(path), str(path))


def recall_state(folder: RunFolder) -> RunState:
    """Return what state.json says or, where it is missing or damaged, what the events say. Never raises."""
    try:
        return read_state(folder)
    except FileFormatError:
        return _from_events(fold(RunSnapshot(), EventReader(folder).read()))


def launcher_alive(state: RunState) -> bool:
    """Whether the process that was started for the run lives on this machine, and is no later one with its number."""
    this_boot = state.boot is None or state.boot == boot_id()
    return this_boot and is_alive(state.launcher_pid, state.launcher_started)


def home_of(folder: RunFolder, state: RunState) -> str:
    """The machine that a run is on: its trainer's, or the one where the run was made."""
    if state.host is not None:
        return state.host
    try:
        return read_spec(folder).host
    except InputError:
        return hostname()


def observe(folder: RunFolder) -> RunState:
    """Return where a run stands, with 'lost' for one that should be at work and whose trainer is gone. Never raises.

    On this machine the lock decides, and the process that was launched: it lives on while torchrun starts its trainers
    again. Clocks jump, so they decide only about another machine, whose processes cannot be seen.
    """
    state = recall_state(folder)
    judged = _judge(folder, state)
    if judged.state == "lost":
        # It may have ended between the two looks, with a last word.
        latest = recall_state(folder)
        if latest != state:
            return _judge(folder, latest)
    return judged


def _judge(folder: RunFolder, state: RunState) -> RunState:
    if not folder.exists:
        return replace(state, state="lost", eta=None, message=REMOVED)
    if state.terminal or state.state == "queued" or is_locked(folder):
        return state
    home = home_of(folder, state)
    if home == hostname():
        if launcher_alive(state):
            return state
        return _lost(folder, state, "its process is gone without a last word")
    silence = _silence(folder, state)
    if silence <= SILENCE_SECONDS:
        return state
    return _lost(folder, state, f"nothing heard from {home} for {silence:.0f} seconds")


def _lost(folder: RunFolder, state: RunState, seen: str) -> RunState:
    """What another process than the trainer left says more than what can be seen; then there is an exit code as well."""
    code, reason = read_failure(folder) or (None, seen)
    return replace(state, state="lost", eta=None, message=reason, exit_code=code)


def _silence(folder: RunFolder, state: RunState) -> float:
    """Seconds since the last sign of life, by this machine's clock."""
    signs = [state.heartbeat or 0.0]
    for path in (folder.state_file, folder.events_file):
        with suppress(OSError):
            signs.append(path.stat().st_mtime)
    return time.time() - max(signs)


def _from_events(snapshot: RunSnapshot) -> RunState:
    start, step, finish = snapshot.start, snapshot.step, snapshot.finish
    if start is None:
        return RunState()
    state = RunState(
        state="running",
        pid=start.pid,
        host=start.host,
        step=start.step if step is None else step.step,
        steps=start.steps if step is None else step.steps,
        epoch=None if step is None else step.epoch,
        epochs=start.epochs if step is None else step.epochs,
        heartbeat=snapshot.t,
        world_size=start.world_size,
    )
    if finish is None:
        return state
    name = finish.state
    return replace(state, state=name, message=finish.reason, exit_code=finish.exit_code, result=finish.result)
