"""Making the folder of a run, and starting a trainer that outlives whoever started it."""

import os
import re
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError, TlegError, describe_os_error
from tleg.runs.allowed import check_not_queued, refusal
from tleg.runs.control import clear_stop
from tleg.runs.detached import Detached
from tleg.runs.lock import RunLock
from tleg.runs.processes import boot_id, hostname, start_ticks
from tleg.runs.run import RunFolder
from tleg.runs.spec import SPEC_VERSION, Launch, RunSpec, read_spec, spec_text, write_spec
from tleg.runs.state import (
    RunState,
    clear_failure,
    going_on,
    home_of,
    launcher_alive,
    observe,
    recall_state,
    save_state,
    store_state,
)

__all__ = ["RunFolder", "create_run"]

# Letters of an id beside time and kind. Ids fill the first column of `tleg runs`, which must fit 80 columns.
_LONGEST_NAME: Final = 17
_LONGEST_WITH_ENDING: Final = 21
_SHORTEST_NAME: Final = 4  # Of what is cut, beside an ending that is long.


def create_run(
    runs_dir: Path,
    *,
    kind: str,
    recipe: Mapping[str, Any],
    name: str = "",
    ending: str = "",
    command: Sequence[str] = (),
    folder: Path | None = None,
    versions: Mapping[str, str] | None = None,
    output: str | None = None,
    overwrite: bool = False,
    lineage: Mapping[str, Any] | None = None,
    launch: Launch | None = None,
) -> RunFolder:
    """Make the folder of a new run, with spec.json and the state 'queued'. The fields are those of RunSpec.

    The id is '261124-035312-learn-deit-small': local date and time, kind and `name`, so that names sort by time; a second
    run of the same second ends in '-2'. A long name is cut; `ending`, which tells apart what has the same name, such as
    'depth8', never is. `folder` is the working folder, by default the current one.
    Raises InputError when a value cannot be stored, and TlegError when the operating system refuses.
    """
    created = time.time()
    spec = RunSpec(
        version=SPEC_VERSION,
        id="",
        kind=kind,
        recipe=recipe,
        command=tuple(command),
        created=created,
        host=hostname(),
        folder=str((folder or Path.cwd()).absolute()),
        versions=versions or {},
        output=output,
        overwrite=overwrite,
        lineage=lineage or {},
        launch=launch or Launch(),
    )
    date = time.strftime("%y%m%d-%H%M%S", time.localtime(created))
    base = "-".join(filter(None, (date, kind, _called(name, ending))))
    runs_dir = runs_dir.absolute()
    # Made under a hidden name and renamed: no viewer ever sees half a run. A rename onto a run fails, so it also decides
    # who has a name when two start at once.
    hidden = RunFolder(runs_dir / f".{base}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        for path in (hidden.checkpoints, hidden.exports):
            path.mkdir(parents=True)
        store_state(hidden, RunState(state="queued", host=spec.host, heartbeat=created))
        number = 1
        while True:
            target = runs_dir / (base if number == 1 else f"{base}-{number}")
            number += 1
            if target.exists() or target.is_symlink():
                continue
            with hidden.spec_file.open("w", encoding="utf-8") as file:
                file.write(spec_text(replace(spec, id=target.name)))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.rename(hidden.path, target)
            except OSError:
                if not target.exists():
                    raise
            else:
                return RunFolder(target)
    except OSError as error:
        raise TlegError(
            f"cannot make a run in {runs_dir}: {describe_os_error(error)}; TLEG_RUNS names another folder for runs",
            code="system",
        ) from error
    finally:
        shutil.rmtree(hidden.path, ignore_errors=True)


def _called(name: str, ending: str) -> str:
    """A name and its ending, the name cut so that both together stay short."""
    last = _slug(ending)
    room = min(_LONGEST_NAME, max(_LONGEST_WITH_ENDING - len(last) - 1, _SHORTEST_NAME)) if last else _LONGEST_NAME
    return "-".join(filter(None, (_slug(name)[:room].strip("-"), last)))


def _slug(text: str) -> str:
    """What of a text is easy to type: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


TRAINER_MODULE: Final = "tleg.training"
RENDEZVOUS_PORT: Final = 29400  # torchrun's own choice.


def trainer_command(folder: RunFolder, spec: RunSpec) -> list[str]:
    """Return the command that trains: the trainer alone, or torchrun with one trainer for each device.

    One device also has torchrun when the trainer is to be started again after it dies. With several machines each runs this
    command, and they meet at the machine where the run was made.
    """
    trainer = ["-m", TRAINER_MODULE, str(folder.path.absolute())]
    launch = spec.launch
    if launch.processes == 1 and launch.max_restarts == 0:
        return [sys.executable, *trainer]
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(launch.nodes)]
    words += ["--nproc-per-node", str(launch.devices or 1), "--max-restarts", str(launch.max_restarts)]
    if launch.nodes == 1:
        words.append("--standalone")
    else:
        endpoint = f"{spec.host}:{RENDEZVOUS_PORT}"
        words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", folder.id]
    return [*words, *trainer]


def node_command(folder: RunFolder, spec: RunSpec, host: str | None = None, port: int = RENDEZVOUS_PORT) -> str:
    """Return the line that a person types on each of several machines.

    They meet at `host`, by default where the run was made, and all see the run's folder under the same path.
    """
    launch = spec.launch
    words = ["torchrun", f"--nnodes={launch.nodes}", f"--nproc-per-node={launch.devices or 1}"]
    if launch.max_restarts:
        words.append(f"--max-restarts={launch.max_restarts}")
    words += ["--rdzv-backend=c10d", f"--rdzv-endpoint={host or spec.host}:{port}", f"--rdzv-id={folder.id}"]
    return shlex.join([*words, "-m", TRAINER_MODULE, str(folder.path.absolute())])


def make_ready(folder: RunFolder) -> None:
    """Put a run that ended back to 'queued', for trainers that a person starts: on several machines, with `node_command`.

    An earlier request to stop is taken back. Raises InputError when the run is at work, or waits as a batch job, and
    TlegError when the operating system refuses.
    """
    spec = read_spec(folder)
    check_not_queued(folder, recall_state(folder), spec.launch.job_id)
    lock = RunLock(folder)
    if not lock.acquire(timeout=1.0):
        raise InputError(f"run {folder.id} is running, or is just ending; try again in a moment", code="wrong-state")
    try:
        _leave_behind(folder, spec)
        save_state(folder, replace(going_on(recall_state(folder)), heartbeat=time.time()))
    finally:
        lock.release()


def launch(folder: RunFolder) -> int:
    """Start the run's trainer, or start it again to go on from its last checkpoint. Return the number of its process.

    The process has a session of its own, no input, train.log for its output, and ignores hang-ups: it outlives the terminal
    and whoever started it. It works in the run's working folder. An earlier request to stop is taken back.
    Raises InputError when the run is at work, or its working folder is missing, and TlegError when the operating system
    refuses.
    """
    spec = read_spec(folder)
    check_startable(folder, spec)
    lock = RunLock(folder)
    # Held until state.json names the process, so that of two who start a run at once only one does.
    if not lock.acquire(timeout=1.0):
        raise InputError(f"run {folder.id} is being started, or is just ending; try again in a moment", code="wrong-state")
    try:
        state = recall_state(folder)
        _check_ended(folder, state)
        check_not_queued(folder, state, spec.launch.job_id)
        _leave_behind(folder, spec)
        return _start(folder, spec, state, Path(spec.folder))
    finally:
        lock.release()


def check_startable(folder: RunFolder, spec: RunSpec) -> None:
    """Refuse, before anything is written, a run whose trainer could not be started now.

    Raises InputError when it is at work or waits as a batch job, or when its working folder is missing.
    """
    if spec.launch.nodes == 1 and spec.launch.slurm is None and not Path(spec.folder).is_dir():
        raise InputError(
            f"run {folder.id} works in {spec.folder}, which is no folder any more; make it again", code="not-found"
        )
    seen = observe(folder)
    if reason := refusal("start", seen):
        raise InputError(f"run {folder.id} {reason} on {home_of(folder, seen)}; stop it first", code="wrong-state")
    state = recall_state(folder)
    _check_ended(folder, state)
    check_not_queued(folder, state, spec.launch.job_id)


def _check_ended(folder: RunFolder, state: RunState) -> None:
    if state.host in (None, hostname()) and launcher_alive(state):
        raise InputError(
            f"process {state.launcher_pid} of run {folder.id} has not ended yet; wait for it, or kill the run",
            code="wrong-state",
        )


def _leave_behind(folder: RunFolder, spec: RunSpec) -> None:
    """Take from a run what belongs to the trainer that it had: its job of SLURM, a request to stop, why it failed."""
    if spec.launch.job_id is not None:
        write_spec(folder, replace(spec, launch=replace(spec.launch, job_id=None)))
    clear_stop(folder)
    clear_failure(folder)


def _start(folder: RunFolder, spec: RunSpec, state: RunState, work: Path) -> int:
    try:
        process = Detached(trainer_command(folder, spec), folder.log_file, work)
    except OSError as error:
        raise TlegError(f"cannot start run {folder.id}: {describe_os_error(error)}", code="system") from error
    started = replace(
        going_on(state),
        state="starting",
        host=hostname(),
        boot=boot_id(),
        launcher_pid=process.pid,
        launcher_started=start_ticks(process.pid),
        heartbeat=time.time(),
        world_size=spec.launch.processes,
    )
    try:
        store_state(folder, started)
        process.go()
    except OSError as error:
        raise TlegError(
            f"cannot start run {folder.id}: {describe_os_error(error)}: {folder.state_file}", code="system"
        ) from error
    finally:
        process.close()
    return process.pid
