"""Runs as batch jobs: the script does under bash what it should, with stand-ins for SLURM's programs."""

import os
import re
import signal
import stat
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import FileFormatError, InputError, TlegError
from tleg.runs.control import remove_run, request_stop, stop_requested
from tleg.runs.launch import create_run, launch
from tleg.runs.lock import RunLock
from tleg.runs.processes import cancel, job_cancelled, job_waits
from tleg.runs.run import RunFolder
from tleg.runs.slurm import SlurmOptions, sbatch_script, stop, submit
from tleg.runs.spec import Launch, read_spec
from tleg.runs.state import RunState, observe, read_state, write_state
from tleg.training.process import StopSignals

# srun starts the command once for each task and returns the greatest exit code, as SLURM's does.
PROGRAMS = {
    "sbatch": 'echo "$@" >>"$LOG/sbatch"; cat "$LOG/answer"',
    "scancel": 'echo "$@" >>"$LOG/scancel"',
    "squeue": 'cat "$LOG/queue" 2>/dev/null',
    "scontrol": 'echo "$@" >>"$LOG/scontrol"; if [ "$1" = show ]; then printf "node7\\nnode8\\n"; fi',
    "srun": """
echo "$1 $2 $3" >"$LOG/srun"
while [ "${1#--}" != "$1" ]; do shift; done
worst=0
for task in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$task SLURM_LOCALID=$((task % 2)) "$@"; code=$?
    [ $code -gt $worst ] && worst=$code
done
exit $worst""",
    # The trainer: it tells what it was given and exits as it is told.
    "python": """
echo "$RANK/$WORLD_SIZE/$LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR:$MASTER_PORT $OMP_NUM_THREADS $*" >>"$LOG/trainer"
exit $(cat "$LOG/code")""",
}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-ins in front of PATH; they write into the folder that this returns."""
    programs, folder = tmp_path / "programs", tmp_path / "log"
    programs.mkdir()
    folder.mkdir()
    for name, text in PROGRAMS.items():
        replace_program(programs / name, text)
    (folder / "answer").write_text("4711;cluster\n")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(folder))
    return folder


def replace_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def make(runs_dir: Path, devices: int = 2, nodes: int = 1, device: str = "auto", **options: Any) -> RunFolder:
    slurm = asdict(SlurmOptions(**options))
    return create_run(runs_dir, kind="learn", recipe={"device": device}, launch=Launch(devices, nodes, 0, slurm))


def asked(script: str) -> list[str]:
    return re.findall(r"^#SBATCH (.*)$", script, re.MULTILINE)


# --- the script


def test_what_a_job_asks_for(runs_dir: Path) -> None:
    run = make(
        runs_dir,
        4,
        2,
        partition="gpu,big",
        time="1-12:00:00",
        account="lab",
        cpus_per_task=8,
        extra=("--constraint=a100", "-q high"),
    )
    spec = read_spec(run)
    script = sbatch_script(run, spec)
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    assert asked(script) == [
        f"--job-name=tleg-{run.id}",
        "--nodes=2",
        "--ntasks-per-node=4",
        f"--chdir={spec.folder}",
        f"--output={run.log_file}",
        "--open-mode=append",
        "--requeue",
        "--signal=USR1@120",
        "--gpus-per-node=4",
        "--partition=gpu,big",
        "--time=1-12:00:00",
        "--account=lab",
        "--cpus-per-task=8",
        "--constraint=a100",
        "-q high",
    ]
    # Options end at the first line that is none: all of them must come before that.
    assert "#SBATCH" not in script.split("\n\n", 1)[1]


@pytest.mark.parametrize(
    ("options", "gpus"),
    [
        ({"device": "auto"}, ["--gpus-per-node=2"]),
        ({"device": "cuda"}, ["--gpus-per-node=2"]),
        ({"gpus_per_node": 8}, ["--gpus-per-node=8"]),
        ({"device": "cpu"}, []),
        ({"device": "cuda", "gpus_per_node": 0}, []),
        ({"device": "cpu", "gpus_per_node": 1}, ["--gpus-per-node=1"]),
    ],
)
def test_gpus(runs_dir: Path, options: dict[str, Any], gpus: list[str]) -> None:
    run = make(runs_dir, **options)
    assert [line for line in asked(sbatch_script(run, read_spec(run))) if line.startswith("--gpus")] == gpus


@pytest.mark.parametrize(
    ("options", "cpus"),
    [({}, ["--cpus-per-task=7"]), ({"cpus_per_task": 2}, ["--cpus-per-task=2"]), ({"extra": ("-c 9",)}, []),
     ({"extra": ("--cpus-per-task=9",)}, ["--cpus-per-task=9"])],
)  # fmt: skip
def test_processors_are_those_of_the_workers(runs_dir: Path, options: dict[str, Any], cpus: list[str]) -> None:
    # Without them a cluster gives one, and six workers share it.
    launch = Launch(2, 1, 0, asdict(SlurmOptions(**options)))
    run = create_run(runs_dir, kind="learn", recipe={"workers": 6}, launch=launch)
    assert [line for line in asked(sbatch_script(run, read_spec(run))) if line.startswith("--cpus")] == cpus


def test_without_options_the_cluster_decides(runs_dir: Path) -> None:
    run = create_run(runs_dir, kind="learn", recipe={})
    lines = asked(sbatch_script(run, read_spec(run)))
    assert "--ntasks-per-node=1" in lines
    assert not [line for line in lines if line.startswith(("--partition", "--time", "--account", "--cpus"))]


def test_paths_with_spaces_quotes_and_percent_signs(tmp_path: Path) -> None:
    import shlex

    run = make(tmp_path / "my 100%j 'runs'")
    script = sbatch_script(run, read_spec(run))
    output = next(line for line in asked(script) if line.startswith("--output"))
    assert shlex.split(output) == [f"--output={run.log_file}".replace("%", "%%")]
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize("where", ["folder", "run"])
def test_paths_that_no_script_can_hold(tmp_path: Path, where: str) -> None:
    run = make(tmp_path / ("a\n#SBATCH --exclusive" if where == "run" else "a"))
    spec = read_spec(run)
    if where == "folder":
        spec = replace(spec, folder="/home/\n#SBATCH --exclusive")
    with pytest.raises(InputError, match="SLURM takes no path with line breaks or control characters"):
        sbatch_script(run, spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partition": "gpu\n#SBATCH --exclusive"}, "a partition of SLURM is a name without spaces"),
        ({"partition": ""}, "a partition"),
        ({"partition": "a b"}, "a partition"),
        ({"account": "lab;rm"}, "an? account"),
        ({"time": "tomorrow"}, "a time of SLURM is minutes, HH:MM:SS or days-HH:MM:SS, not 'tomorrow'"),
        ({"time": "1:00:00\n"}, "a time of SLURM"),
        ({"gpus_per_node": -1}, "GPUs on each machine are 0 or more, not -1"),
        ({"cpus_per_task": 0}, "processors for each process are 1 or more, not 0"),
        ({"extra": ("--qos=x\nrm -rf /",)}, "an option of sbatch is one line"),
        ({"extra": ("--qos=x\r#SBATCH",)}, "an option of sbatch is one line"),
        ({"extra": ("--a=\u2028b",)}, "an option of sbatch is one line"),
        ({"extra": ("rm -rf /",)}, "an option of sbatch is one line"),
        ({"extra": ("",)}, "an option of sbatch is one line"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SlurmOptions(**options)


@pytest.mark.parametrize("time", ["90", "90:00", "12:00:00", "2-0", "2-12:30", "2-12:30:00"])
def test_times(time: str) -> None:
    assert SlurmOptions(time=time).time == time


@given(st.text(), st.text())
def test_no_option_adds_a_line(runs_dir: Path, value: str, extra: str) -> None:
    plain = make(runs_dir, partition="x", account="x", time="1", extra=("--x",))
    lines = sbatch_script(plain, read_spec(plain)).count("\n")
    valid: dict[str, Any] = {"partition": "x", "account": "x", "time": "1", "extra": ("--x",)}
    for name in valid:
        try:
            full = SlurmOptions(**valid | {name: (f"--{extra}",) if name == "extra" else value})
        except InputError:
            continue
        spec = read_spec(plain)
        script = sbatch_script(plain, replace(spec, launch=replace(spec.launch, slurm=asdict(full))))
        assert len(script.splitlines()) == lines


def test_damaged_options_in_the_spec(run: RunFolder) -> None:
    spec = read_spec(run)
    with pytest.raises(FileFormatError, match=r"launch\.slurm has an unknown field 'queue'"):
        sbatch_script(run, replace(spec, launch=replace(spec.launch, slurm={"queue": "x"})))


# --- the script under bash


def run_script(run: RunFolder, log: Path, monkeypatch: pytest.MonkeyPatch, code: int, **environment: str) -> int:
    monkeypatch.setattr("sys.executable", str(log.parent / "programs" / "python"))
    (log / "code").write_text(str(code))
    script = sbatch_script(run, read_spec(run))
    variables = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "2",
    } | environment
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(["bash", "-c", script], env=inherited | variables, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (2, False), (75, True), (137, False)])
def test_a_trainer_that_asks_to_be_continued_is(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, code: int, requeued: bool
) -> None:
    run = make(tmp_path / "my runs")
    assert run_script(run, log, monkeypatch, code) == code
    told = (log / "trainer").read_text().splitlines()
    address = f"node7:{20000 + 4711}"
    assert told == [f"{rank}/4/{rank % 2}/2 {address} 1 -m tleg.training {run.path}" for rank in range(4)]
    asked_of = (log / "scontrol").read_text().splitlines()
    assert asked_of == ["show hostnames node[7-8]", *(["requeue 4711"] if requeued else [])]
    assert (log / "srun").read_text() == "--kill-on-bad-exit=0 --wait=300 /bin/bash\n"


def test_the_script_outlives_a_preemption(runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # SLURM sends SIGTERM to the script as well; the trainer saves, and the job is put back into the queue.
    replace_program(log.parent / "programs" / "srun", 'kill -TERM "$PPID"; sleep 0.1; exit 75')
    run = make(runs_dir)
    assert run_script(run, log, monkeypatch, 0) == 75
    assert (log / "scontrol").read_text().splitlines()[-1] == "requeue 4711"


def test_threads_and_processors_of_the_job_are_kept(runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_program(log.parent / "programs" / "python", 'echo "$OMP_NUM_THREADS $SRUN_CPUS_PER_TASK" >>"$LOG/trainer"')
    run = make(runs_dir)
    run_script(run, log, monkeypatch, 0, SLURM_NTASKS="1", OMP_NUM_THREADS="3", SLURM_CPUS_PER_TASK="9")
    assert (log / "trainer").read_text() == "3 9\n"


def test_ports_of_jobs_are_valid(runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(runs_dir)
    for job in ("1", "19999", "20000", "4000000000"):
        run_script(run, log, monkeypatch, 0, SLURM_NTASKS="1", SLURM_JOB_ID=job)
    ports = [int(line.split(":")[1].split()[0]) for line in (log / "trainer").read_text().splitlines()]
    assert ports == [20001, 39999, 20000, 20000]


# --- submitting, cancelling, stopping


def test_submit(runs_dir: Path, log: Path) -> None:
    run = make(runs_dir)
    write_state(
        run,
        RunState(
            state="failed",
            step=40,
            pid=1,
            started=1,
            launcher_pid=1,
            launcher_started=1,
            message="out of memory",
            exit_code=1,
            result="somewhere",
            eta=7.0,
        ),
    )
    request_stop(run)
    assert submit(run) == "4711"
    assert (log / "sbatch").read_text() == f"--parsable {run.job_file}\n"
    assert run.job_file.read_text() == sbatch_script(run, read_spec(run))
    assert read_spec(run).launch.job_id == "4711"
    assert not stop_requested(run)
    state = observe(run)
    assert state == RunState(state="queued", step=40)
    with pytest.raises(InputError, match=f"run {run.id} waits for its turn as job 4711; stop it first"):
        submit(run)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("echo 'sbatch: error: no partition x' >&2; echo more >&2; exit 1", "refused: sbatch: error: no partition x$"),
        ("exit 3", "sbatch refused: exit code 3$"),
        ("echo Submitted batch job 5", "sbatch did not say which job it made: 'Submitted batch job 5'"),
        (None, r"there is no sbatch on .*; log in to a machine of the cluster"),
    ],
)  # fmt: skip
def test_a_job_that_is_not_taken(
    runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, message: str
) -> None:
    run = make(runs_dir)
    before = RunState(state="stopped", step=40)
    write_state(run, before)
    if program is None:
        monkeypatch.setenv("PATH", str(log))
    else:
        replace_program(log.parent / "programs" / "sbatch", program)
    with pytest.raises(TlegError, match=message):
        submit(run)
    assert read_spec(run).launch.job_id is None
    assert read_state(run) == before


def test_a_program_that_does_not_answer(runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_program(log.parent / "programs" / "sbatch", "exec sleep 30")
    monkeypatch.setattr("tleg.runs.processes._PROGRAM_SECONDS", 0.2)
    with pytest.raises(TlegError, match=r"sbatch did not answer within 0\.2 seconds; try again"):
        submit(make(runs_dir))


def test_a_job_that_cannot_be_noted_is_named(runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(runs_dir)

    def full(*_: Any) -> None:
        raise TlegError("disk full")

    monkeypatch.setattr("tleg.runs.slurm.write_spec", full)
    with pytest.raises(TlegError, match="job 4711 was submitted, but not noted: disk full; scancel 4711 takes it back"):
        submit(run)
    assert (log / "sbatch").exists()


@pytest.mark.usefixtures("log")
def test_a_run_at_work_is_not_submitted(runs_dir: Path) -> None:
    run = make(runs_dir)
    write_state(run, RunState(state="running", host=os.uname().nodename))
    with RunLock(run), pytest.raises(InputError, match=f"run {run.id} is running already; stop it first"):
        submit(run)
    assert submit(run) == "4711", "one whose trainer was lost may go on as a job"


def test_cancel(log: Path) -> None:
    cancel("12")
    assert (log / "scancel").read_text() == "12\n"
    replace_program(log.parent / "programs" / "scancel", "echo 'scancel: error: Access denied' >&2; exit 1")
    with pytest.raises(TlegError, match="scancel refused: scancel: error: Access denied"):
        cancel("12")
    for wrong in ("", "-u me", "1 2", "--help"):
        with pytest.raises(InputError, match="a job of SLURM has a number"):
            cancel(wrong)


def test_stop_of_a_job_that_waits(runs_dir: Path, log: Path) -> None:
    run = make(runs_dir)
    submit(run)
    stop(run)
    assert (log / "scancel").read_text() == "4711\n"
    assert (observe(run).state, observe(run).message) == ("stopped", "taken out of the queue")
    assert not stop_requested(run)
    assert submit(run) == "4711"


def test_stop_of_a_job_that_slurm_has_forgotten(runs_dir: Path, log: Path) -> None:
    run = make(runs_dir)
    submit(run)
    refusal = "echo 'scancel: error: Kill job error on job id 4711: Invalid job id specified' >&2; exit 1"
    replace_program(log.parent / "programs" / "scancel", refusal)
    stop(run)
    assert observe(run).state == "stopped"


def test_stop_of_a_job_at_work_lets_it_save(runs_dir: Path, log: Path) -> None:
    run = make(runs_dir)
    submit(run)
    write_state(run, RunState(state="running", host=os.uname().nodename))
    with RunLock(run):
        stop(run)
    assert stop_requested(run)
    assert not (log / "scancel").exists()


def test_stop_that_scancel_refuses(runs_dir: Path, log: Path) -> None:
    run = make(runs_dir)
    submit(run)
    replace_program(log.parent / "programs" / "scancel", "echo denied >&2; exit 1")
    with pytest.raises(TlegError, match="scancel refused: denied"):
        stop(run)
    assert observe(run).state == "queued"
    assert stop_requested(run), "the trainer sees it when the job starts"


def test_stop_of_a_run_on_this_machine(run: RunFolder, log: Path) -> None:
    stop(run)
    assert stop_requested(run)
    assert not (log / "scancel").exists()


@pytest.mark.usefixtures("log")
def test_a_run_whose_description_is_damaged_is_asked_all_the_same(run: RunFolder) -> None:
    assert write_state(run, RunState(state="running", host=os.uname().nodename))
    run.spec_file.write_text("{")
    with RunLock(run), pytest.raises(FileFormatError):
        stop(run)
    assert stop_requested(run)


# --- what SLURM does by itself


@pytest.mark.parametrize("state", ["PENDING", "REQUEUED", "CONFIGURING"])
def test_a_run_whose_job_slurm_put_back(runs_dir: Path, log: Path, state: str) -> None:
    run = make(runs_dir)
    submit(run)
    assert write_state(run, RunState(state="stopped", step=5))
    (log / "queue").write_text(f"{state}\n")
    with pytest.raises(InputError, match="is stopped, but its job 4711 is in SLURM's queue; stop it first"):
        submit(run)
    with pytest.raises(InputError, match="is stopped, but its job 4711 is in SLURM's queue; stop it first"):
        remove_run(run)
    with pytest.raises(InputError, match="is stopped, but its job 4711 is in SLURM's queue; stop it first"):
        launch(run)
    assert run.path.is_dir()
    stop(run)
    assert (log / "scancel").read_text() == "4711\n"
    assert not stop_requested(run)
    (log / "queue").write_text("")
    stop(run)
    assert (log / "scancel").read_text() == "4711\n"
    assert submit(run) == "4711"


def test_what_slurm_says_of_a_job(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, waits in (("PENDING", True), ("RUNNING", False), ("COMPLETING", False), ("", False)):
        (log / "queue").write_text(f"{state}\n")
        assert job_waits("12") is waits
    assert not job_waits(None)
    assert not job_waits("-u me")
    for text, cancelled in (("JobState=CANCELLED Reason=None", True), ("JobState=PREEMPTED", False)):
        replace_program(log.parent / "programs" / "scontrol", f"echo 'JobId=12 JobName=x'; echo '   {text}'")
        assert job_cancelled("12") is cancelled
    monkeypatch.setenv("PATH", str(log))
    assert not job_waits("12")
    assert not job_cancelled("12")


@pytest.mark.parametrize(
    ("number", "batch_job", "state", "continues"),
    [
        (signal.SIGUSR1, True, "RUNNING", True),
        (signal.SIGUSR1, False, "RUNNING", True),
        (signal.SIGTERM, True, "PREEMPTED", True),
        (signal.SIGTERM, True, "CANCELLED", False),
        (signal.SIGTERM, False, "RUNNING", False),
        (signal.SIGINT, True, "RUNNING", False),
    ],
)
def test_a_preempted_trainer_continues(
    log: Path, monkeypatch: pytest.MonkeyPatch, number: int, batch_job: bool, state: str, continues: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    replace_program(log.parent / "programs" / "scontrol", f"echo '   JobState={state} Reason=None'")
    signals = StopSignals()
    signals.received = number
    assert signals.continues(batch_job=batch_job) is continues


def test_restarts_are_not_for_a_job(runs_dir: Path, log: Path) -> None:
    from tleg.launch import make_training, resume_training
    from tleg.recipes.io import from_values, to_values

    values = {"architecture": "vit_tiny_patch16_224", "data": "digits", "epochs": 3, "max-restarts": 2}
    recipe = from_values("learn", values)
    message = "--max-restarts is torchrun's, and SLURM starts a job without it; give --max-restarts 0 with --slurm"
    with pytest.raises(InputError, match=message):
        make_training(recipe, runs_dir, slurm=SlurmOptions())
    assert not runs_dir.exists()
    folder = create_run(runs_dir, kind="learn", recipe=to_values(recipe), launch=Launch(max_restarts=2))
    assert write_state(folder, RunState(state="stopped", step=5, steps=30, epochs=3))
    with pytest.raises(InputError, match=message):
        resume_training(folder, place=SlurmOptions())
    assert resume_training(folder, {"max-restarts": 0}, SlurmOptions()) == "4711"


def test_a_run_moves_to_slurm_and_back(runs_dir: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg.launch import resume_training
    from tleg.recipes.io import from_values, to_values

    recipe = from_values("learn", {"architecture": "vit_tiny_patch16_224", "data": "digits", "epochs": 3, "device": "cpu"})
    folder = create_run(runs_dir, kind="learn", recipe=to_values(recipe))
    assert write_state(folder, RunState(state="stopped", step=5, steps=30, epochs=3))
    assert resume_training(folder, {"devices": 2}, SlurmOptions(partition="gpu")) == "4711"
    spec = read_spec(folder)
    assert (spec.launch.devices, spec.launch.job_id) == (2, "4711")
    assert spec.launch.slurm is not None
    assert "#SBATCH --partition=gpu" in folder.job_file.read_text()
    assert spec.amendments[-1] == {"step": 5, "changes": {"devices": 2}}
    # As a job it goes on as a job, and on this machine when that is asked for.
    assert write_state(folder, RunState(state="stopped", step=6, steps=30, epochs=3))
    assert resume_training(folder) == "4711"
    started: list[RunFolder] = []
    monkeypatch.setattr("tleg.launch.launch", started.append)
    assert write_state(folder, RunState(state="stopped", step=7, steps=30, epochs=3))
    assert resume_training(folder, place="here") is None
    assert started == [folder]
    assert read_spec(folder).launch.slurm is None
