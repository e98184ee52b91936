"""Runs as batch jobs of SLURM: the script, and how they are submitted and stopped."""

import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tleg.errors import InputError, TlegError
from tleg.files import new_file, undone_on_failure
from tleg.runs.allowed import check_allowed
from tleg.runs.control import clear_stop, request_stop
from tleg.runs.launch import TRAINER_MODULE
from tleg.runs.processes import NUMBER, cancel, find_program, job_waits, run_program
from tleg.runs.run import RunFolder
from tleg.runs.spec import RunSpec, read_spec, write_spec
from tleg.runs.state import going_on, observe, save_state
from tleg.serialize import decode
from tleg.threads import AUTO, GIVEN, parse_threads

# What a trainer exits with when it saved and asks to be continued (EX_TEMPFAIL of sysexits.h).
CONTINUE_CODE: Final = 75
# Between the signal that asks for a checkpoint and the end of the job's time.
_WARNING_SECONDS: Final = 120
# After the first process ended; the others write what is left, or wait for one that crashed.
_WAIT_SECONDS: Final = 300
_TIME: Final = re.compile(r"\d+|\d+:\d{2}|\d+:\d{2}:\d{2}|\d+-\d{1,2}(:\d{2}){0,2}", re.ASCII)
_NAME: Final = re.compile(r"[\w.,:@%+=-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """What a batch job asks for. None leaves it to the cluster.

    partition, account  names; several partitions have commas
    time                as SLURM writes it: minutes, 'HH:MM:SS' or 'days-HH:MM:SS'
    gpus_per_node       None is one for each process, or none on CPUs
    cpus_per_task       processors for each process; None is one for each of its workers, and its threads or one for itself
    extra               more options of sbatch, such as '--constraint=a100'
    """

    partition: str | None = None
    time: str | None = None
    account: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("partition", self.partition), ("account", self.account)):
            if value is not None and not _NAME.fullmatch(value):
                raise InputError(f"a {name} of SLURM is a name without spaces, not {value!r}", field=name, code="malformed")
        if self.time is not None and not _TIME.fullmatch(self.time):
            raise InputError(
                f"a time of SLURM is minutes, HH:MM:SS or days-HH:MM:SS, not {self.time!r}", field="time", code="malformed"
            )
        if self.gpus_per_node is not None and self.gpus_per_node < 0:
            raise InputError(f"GPUs on each machine are 0 or more, not {self.gpus_per_node}", code="out-of-range")
        if self.cpus_per_task is not None and self.cpus_per_task < 1:
            raise InputError(f"processors for each process are 1 or more, not {self.cpus_per_task}", code="out-of-range")
        for line in self.extra:
            if not re.match(r"--?[A-Za-z]", line) or not line.isprintable():
                raise InputError(
                    f"an option of sbatch is one line such as --constraint=a100, not {line!r}",
                    field="sbatch",
                    code="malformed",
                )


def sbatch_script(folder: RunFolder, spec: RunSpec) -> str:
    """Return the batch script: one trainer for each device, asked to save before the time is up, and continued after that.

    When the trainer exits with CONTINUE_CODE, the job is put into the queue again. Raises InputError for options or paths
    that do not fit into a script.
    """
    options = decode(SlurmOptions, spec.launch.slurm or {}, "launch.slurm")
    path = folder.path.absolute()
    for text in (str(path), spec.folder, sys.executable):
        if not text.isprintable():
            raise InputError(f"SLURM takes no path with line breaks or control characters: {text!r}", code="unsupported")
    tasks = spec.launch.devices or 1
    gpus = options.gpus_per_node
    if gpus is None:
        gpus = 0 if spec.recipe.get("device") == "cpu" else tasks
    cpus, workers = options.cpus_per_task, spec.recipe.get("workers")
    if (
        cpus is None
        and isinstance(workers, int)
        and not any(re.match(r"-c|--cpus-per-task", line) for line in options.extra)
    ):
        cpus = workers + (parse_threads(str(spec.recipe.get("threads", AUTO))) or 1)
    log = str(folder.log_file.absolute()).replace("%", "%%")  # '%j' would be the number of the job.
    asked = [
        f"--job-name={shlex.quote('tleg-' + folder.id)}",
        f"--nodes={spec.launch.nodes}",
        f"--ntasks-per-node={tasks}",
        f"--chdir={shlex.quote(spec.folder)}",
        f"--output={shlex.quote(log)}",
        "--open-mode=append",
        "--requeue",
        f"--signal=USR1@{_WARNING_SECONDS}",
    ]
    if gpus:
        asked.append(f"--gpus-per-node={gpus}")
    for name, value in (
        ("partition", options.partition),
        ("time", options.time),
        ("account", options.account),
        ("cpus-per-task", cpus),
    ):
        if value is not None:
            asked.append(f"--{name}={value}")
    trainer = shlex.join([sys.executable, "-m", TRAINER_MODULE, str(path)])
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in (*asked, *options.extra)), "", _BODY % trainer])


# What ends the job early, preemption or scancel, sends SIGTERM to this script as well: it waits for srun's answer.
# srun returns the greatest exit code of its processes, so a process that it killed must not hide the 75 of the others: it
# waits instead of killing at the first code that is not 0, whatever the cluster's configuration says.
_BODY: Final = f"""\
trap : TERM
export MASTER_ADDR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export MASTER_PORT=$((20000 + SLURM_JOB_ID %% 20000))
export {GIVEN}="${{OMP_NUM_THREADS:-}}" OMP_NUM_THREADS="${{OMP_NUM_THREADS:-1}}" PYTHONSAFEPATH=1
if [ -n "${{SLURM_CPUS_PER_TASK:-}}" ]; then
    export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
fi

srun --kill-on-bad-exit=0 --wait={_WAIT_SECONDS} /bin/bash -c '
export RANK="$SLURM_PROCID" WORLD_SIZE="$SLURM_NTASKS" LOCAL_RANK="$SLURM_LOCALID"
export LOCAL_WORLD_SIZE="${{SLURM_NTASKS_PER_NODE:-1}}"
exec "$@"
' tleg %s
code=$?
if [ "$code" -eq {CONTINUE_CODE} ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


def submit(folder: RunFolder, after: Sequence[str] = ()) -> str:
    """Put the run into SLURM's queue and return the number of its job, which is stored in spec.json.

    after  jobs that must end well before this one starts; when one does not, SLURM takes this one out of its queue

    An earlier request to stop is taken back. Raises InputError when the run is at work or waits already, and TlegError when
    sbatch is missing or refuses.
    """
    spec = read_spec(folder)
    check_job(folder, spec)
    script = sbatch_script(folder, spec)
    # Before the job can start: what the trainer says about itself must come later. sbatch may refuse for its own reasons.
    with undone_on_failure(folder.job_file, folder.state_file, folder.stop_file):
        clear_stop(folder)
        with new_file(folder.job_file, overwrite=True) as temporary:
            temporary.write_text(script, "utf-8")
        save_state(folder, going_on(observe(folder)))
        behind = [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
        answer = run_program(["sbatch", "--parsable", *behind, str(folder.job_file.absolute())])
        job_id = answer.strip().partition(";")[0]  # Behind it may be the name of the cluster.
        if not NUMBER.fullmatch(job_id):
            raise TlegError(f"sbatch did not say which job it made: {answer.strip()!r}", code="system")
    try:
        write_spec(folder, replace(spec, launch=replace(spec.launch, job_id=job_id)))
    except TlegError as error:
        raise TlegError(
            f"job {job_id} was submitted, but not noted: {error}; scancel {job_id} takes it back", code="system"
        ) from error
    return job_id


def check_job(folder: RunFolder, spec: RunSpec) -> None:
    """Refuse, before anything is written, a run that cannot be submitted.

    Raises InputError when it is at work or waits already, and for options or paths that do not fit into a script, and
    TlegError when there is no sbatch.
    """
    check_allowed("start", folder, observe(folder), spec.launch.job_id)
    sbatch_script(folder, spec)
    find_program("sbatch")


def stop(folder: RunFolder) -> None:
    """Ask a run to stop; one that still waits in SLURM's queue is taken out of it, and is then stopped.

    A run that ended stays as it ended, and loses the job that SLURM put back by itself.
    Raises TlegError when the operating system or scancel refuses.
    """
    state = observe(folder)
    ended = state.ended
    if not ended:
        request_stop(folder)  # Before spec.json is read, which may be damaged.
        state = observe(folder)
    job_id = read_spec(folder).launch.job_id
    if ended and job_id is not None and job_waits(job_id):
        cancel(job_id)
    if ended or state.state != "queued" or job_id is None:
        return
    try:
        cancel(job_id)
    except TlegError as error:
        if "invalid job id" not in str(error).lower():  # It ended long ago, and SLURM has forgotten it.
            raise
    latest = observe(folder)  # It may have started in the meantime; then the request reaches it, or scancel did.
    if latest.state == "queued":
        save_state(folder, replace(latest, state="stopped", message="taken out of the queue", heartbeat=time.time()))
        clear_stop(folder)
