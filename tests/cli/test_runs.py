"""The commands about runs, on runs of every state: written by hand, with stand-ins for trainers, and real ones."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import clean_environment
from tleg.cli.live_view import render_run
from tleg.learngene.header import Reached
from tleg.recipes.io import from_values, to_values
from tleg.runs.events import EventReader, EventWriter
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import RunState, observe, write_state

pytestmark = pytest.mark.usefixtures("forks")

RunCli = Callable[..., Any]
RECIPE: Mapping[str, Any] = {"architecture": "vit_tiny_patch16_224", "data": "nowhere", "epochs": 3}
# Holds the run's lock and tells of steps, as a trainer does; ends when it is asked to, or never.
TRAINER = """
import os, sys, time
from pathlib import Path
from tleg.runs.control import stop_requested
from tleg.runs.events import EventWriter
from tleg.runs.launch import RunFolder
from tleg.runs.lock import RunLock
from tleg.runs.processes import start_ticks, hostname, boot_id
from tleg.runs.state import RunState, write_state

folder, obeys = RunFolder(Path(sys.argv[1])), sys.argv[2] == "obeys"
lock = RunLock(folder)
assert lock.acquire()
state = dict(pid=os.getpid(), started=start_ticks(os.getpid()), host=hostname(), boot=boot_id(), steps=100, epochs=3)
with EventWriter(folder) as writer:
    writer.write("started", {"step": 0, "steps": 100, "epochs": 3, "restart": 0})
    for step in range(1, 100000):
        writer.write("step", {"step": step, "steps": 100, "epoch": 1, "epochs": 3, "loss": 2.5, "images_per_second": 7.0})
        write_state(folder, RunState(state="running", step=step, **state))
        if obeys and stop_requested(folder):
            reason = "stopped after step 7 of 100"
            writer.write("finished", {"state": "stopped", "reason": reason, "exit_code": 0, "step": 7})
            write_state(folder, RunState(state="stopped", step=7, message=reason, **state))
            break
        time.sleep(0.05)
"""


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the runs, where every command looks."""
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def make(runs_dir: Path, name: str = "vit", **changes: Any) -> RunFolder:
    recipe = from_values("learn", {**RECIPE, **changes})
    return create_run(runs_dir, kind="learn", recipe=to_values(recipe), name=name)


def ended(folder: RunFolder, state: str, reason: str, code: int, **more: Any) -> RunFolder:
    with EventWriter(folder) as writer:
        writer.write("started", {"step": 0, "steps": 30, "epochs": 3, "restart": 0})
        scores = [{"depth": 3, "top1": 61.5, "top5": None, "loss": 1.0, "images": 9}]
        writer.write("evaluation", {"step": 10, "epoch": 1, "weights": "model", "scores": scores})
        writer.write("checkpoint", {"step": 10, "name": "step-000000010", "best": True})
        writer.write("finished", {"state": state, "reason": reason, "exit_code": code, "step": 10})
    write_state(
        folder,
        RunState(state=state, step=10, steps=30, epochs=3, message=reason, exit_code=code, **more),  # type: ignore[arg-type]
    )
    return folder


def begin(folder: RunFolder, manner: str = "obeys") -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(folder.path), manner], env=clean_environment(), start_new_session=True
    )
    end = time.monotonic() + 120
    while observe(folder).state != "running":
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


@pytest.fixture
def running(runs_dir: Path) -> Iterator[tuple[RunFolder, subprocess.Popen[bytes]]]:
    """A run at work, that stops when it is asked to."""
    folder = make(runs_dir)
    process = begin(folder)
    yield folder, process
    process.kill()
    process.wait()


def test_runs_are_listed_with_their_states(runs_dir: Path, run_cli: RunCli) -> None:
    assert "no runs in" in run_cli("runs").stderr
    finished = ended(make(runs_dir, "first"), "finished", "top-1 61.50 %", 0)
    stopped = ended(make(runs_dir, "second"), "stopped", "stopped after step 10 of 30", 0)
    failed = ended(make(runs_dir, "third"), "failed", "the loss became nan", 1)
    lost = make(runs_dir, "fourth")
    process = begin(lost)
    process.kill()
    process.wait()
    (runs_dir / "notes").mkdir()
    result = run_cli("runs", "--json")
    assert "left out" in result.stderr
    rows = json.loads(result.stdout)
    assert [(row["id"], row["state"]) for row in rows] == [
        (lost.id, "lost"),
        (failed.id, "failed"),
        (stopped.id, "stopped"),
        (finished.id, "finished"),
    ]
    assert (rows[3]["best_top1"], rows[3]["best_depths"]) == (61.5, [3])
    assert (rows[0]["best_top1"], rows[0]["best_depths"]) == (None, [])
    assert rows[3]["progress"] == "1/3 epochs"
    table = run_cli("runs").stdout
    assert "\x1b" not in table
    assert "✓ finished" in table
    assert "61.50 %" in table
    assert "⌀" not in table


def test_a_mean_over_depths_is_told_from_the_accuracy_of_one_model(runs_dir: Path, run_cli: RunCli) -> None:
    folder = make(runs_dir)
    with EventWriter(folder) as writer:
        scores = [{"depth": depth, "top1": 60.0 + depth} for depth in (3, 8)]
        for epoch in (1, 2):
            writer.write("evaluation", {"step": epoch, "epoch": epoch, "weights": "model", "scores": scores})
    listed = run_cli("runs")
    assert "⌀65.50 %" in listed.stdout
    assert listed.stderr.startswith("⌀ is the mean over the depths of a learngene")
    (row,) = json.loads(run_cli("runs", "--json").stdout)
    assert (row["best_top1"], row["best_depths"]) == (65.5, [3, 8])
    texts = [str(each) for each in render_run(folder.id, fold(RunSnapshot(), EventReader(folder).read()), RunState())]
    assert "best: 65.50 %, mean of 2 depths, after epoch 2" in texts


def test_attach_says_how_a_run_ended(runs_dir: Path, run_cli: RunCli) -> None:
    stopped = ended(make(runs_dir, "a"), "stopped", "stopped after step 10 of 30", 0)
    result = run_cli("attach", stopped.id)
    assert (result.code, result.stdout) == (0, "")
    assert f"stopped after step 10 of 30; `tleg resume {stopped.id}` goes on" in result.stderr
    failed = ended(make(runs_dir, "b"), "failed", "the teacher knows nothing", 2)
    result = run_cli("attach", failed.id)
    assert result.code == 2
    assert result.stderr.splitlines()[-1] == "tleg: the teacher knows nothing"
    lost = make(runs_dir, "c")
    process = begin(lost)
    process.kill()
    process.wait()
    result = run_cli("attach", "last")
    assert result.code == 1
    assert "ended without a word (killed, out of memory, or a power cut); it has no checkpoint yet" in result.stderr
    assert f"`tleg resume {lost.id}` goes on" in result.stderr


def test_a_trainer_that_never_began_shows_its_last_words(runs_dir: Path, run_cli: RunCli) -> None:
    folder = make(runs_dir)
    write_state(folder, RunState(state="starting", pid=2**22 - 1, started=1))
    folder.log_file.write_text("Traceback\nImportError: no torch here\n")
    result = run_cli("attach", "last")
    assert result.code == 1
    assert result.stderr.splitlines()[-1] == "ImportError: no torch here"


def test_stop_waits_until_the_run_has_saved(running: Any, run_cli: RunCli) -> None:
    folder, process = running
    result = run_cli("stop", folder.id[:16])
    assert result.code == 0
    assert result.stdout == f"{folder.id}  stopped after step 7\n"
    assert process.wait(timeout=120) == 0
    again = run_cli("stop", "last", "--json")
    assert json.loads(again.stdout)["state"] == "stopped"
    assert "is stopped already" in again.stderr


def test_stop_kills_what_does_not_end(runs_dir: Path, run_cli: RunCli) -> None:
    folder = make(runs_dir)
    process = begin(folder, "never")
    try:
        result = run_cli("stop", "last", "--kill-after", "0.3")
        assert result.code == 0
        assert "it has not ended after 0.3 s; killing it" in result.stderr
        assert process.wait(timeout=120) == -signal.SIGKILL
        assert observe(folder).state == "stopped"
    finally:
        process.kill()


def test_resume_refuses_what_makes_no_sense(runs_dir: Path, running: Any, run_cli: RunCli) -> None:
    folder, _ = running
    result = run_cli("resume", folder.id)
    assert result.code == 2
    assert f"is running; `tleg attach {folder.id}` shows it" in result.stderr
    finished = ended(make(runs_dir, "done"), "finished", "top-1", 0)
    assert "is finished after 3 epochs; give more --epochs" in run_cli("resume", finished.id).stderr
    stopped = ended(make(runs_dir, "half"), "stopped", "stopped", 0)
    result = run_cli("resume", stopped.id, "--accumulate", "3")
    assert result.code == 2
    assert "does not divide into 3 equal parts" in result.stderr
    assert read_spec(stopped).amendments == ()


def test_logs(runs_dir: Path, run_cli: RunCli) -> None:
    folder = ended(make(runs_dir), "failed", "no", 1)
    assert "has printed nothing yet" in run_cli("logs", "last").stderr
    folder.log_file.write_text("one\ntwo\x1b[31m\nthree\n")
    assert run_cli("logs", "last", "-n", "2").stdout == "two\ufffd[31m\nthree\n"
    assert run_cli("logs", "last", "-f").stdout.splitlines() == ["one", "two\ufffd[31m", "three"]


def test_rm_removes_runs_that_are_over(runs_dir: Path, running: Any, run_cli: RunCli) -> None:
    over = ended(make(runs_dir, "over"), "finished", "top-1", 0)
    assert "give --yes" in run_cli("rm", over.id).stderr
    assert over.path.is_dir()
    assert run_cli("rm", over.id, "--yes").stdout == f"{over.id}\n"
    assert not over.path.exists()
    result = run_cli("rm", "last", "--yes")
    assert result.code == 2
    assert "stop it first" in result.stderr


@pytest.mark.parametrize("command", ["attach", "logs", "stop", "resume", "rm"])
def test_a_run_that_is_not_there(command: str, runs_dir: Path, run_cli: RunCli) -> None:
    folder = ended(make(runs_dir), "finished", "top-1", 0)
    result = run_cli(command, f"{folder.id}x")
    assert result.code == 2
    assert len(result.stderr.splitlines()) == 1
    assert f"Did you mean '{folder.id}'" in result.stderr
    assert run_cli(command, "last", "--runs-dir", runs_dir / "other").code == 2


def test_runs_in_another_folder(tmp_path: Path, run_cli: RunCli) -> None:
    folder = ended(make(tmp_path / "elsewhere"), "stopped", "stopped after step 10 of 30", 0)
    rows = json.loads(run_cli("runs", "--json", "--runs-dir", tmp_path / "elsewhere").stdout)
    assert [row["path"] for row in rows] == [str(folder.path)]
    assert run_cli("attach", folder.path).code == 0


def read_until(terminal: int, words: str, seconds: float = 120.0) -> str:
    """Read a terminal until it shows these words."""
    text, end = "", time.monotonic() + seconds
    while words not in text:
        assert time.monotonic() < end, text
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text


@pytest.mark.parametrize(
    ("answer", "code", "state"), [(b"s\n", 0, "stopped"), (b"l\n", 130, "running"), (b"\x03", 130, "running")]
)
def test_an_interrupt_asks_and_the_run_outlives_its_viewer(running: Any, answer: bytes, code: int, state: str) -> None:
    folder, process = running
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tleg.cli", "attach", "--plain", str(folder.path)],
            {**clean_environment(), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        )
    try:
        shown = read_until(terminal, "images/s")
        assert "\x1b[" in shown
        assert "running" in shown
        os.write(terminal, b"\x03")
        read_until(terminal, "[s] stop it and save")
        os.write(terminal, answer)
        rest = read_until(terminal, "goes on")
        if code == 130:
            # On a line of its own, also where the terminal has just written ^C.
            assert f"\nrun {folder.id}" in rest
            assert f"tleg attach {folder.id}" in rest
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == code
        assert observe(folder).state == state
        if state == "stopped":
            process.wait(timeout=120)  # Its last word comes before its end.
        assert (process.poll() is None) == (state == "running")
    finally:
        os.close(terminal)


def test_depths_are_reported_in_their_order(runs_dir: Path, run_cli: RunCli, tiny_learngene: Any) -> None:
    folder = make(runs_dir)
    result = folder.exports / "learngene.safetensors"
    tiny_learngene(reached=Reached("digits", 9, {depth: 50.0 + depth for depth in (3, 4, 10, 12)})).save(result)
    ended(folder, "finished", "top-1 62.00 %", 0, result=str(result))
    lines = run_cli("attach", "last").stdout.splitlines()
    assert lines[1:] == [f"depth {depth:>3}  top-1 {50 + depth}.00 %" for depth in (3, 4, 10, 12)]
    assert list(json.loads(run_cli("attach", "last", "--json").stdout)["top1"]) == ["3", "4", "10", "12"]


def test_two_may_watch_and_neither_matters(running: Any, tmp_path: Path) -> None:
    folder, process = running
    command = [sys.executable, "-m", "tleg.cli", "attach", str(folder.path)]
    talk = [tmp_path / f"talk{number}" for number in range(2)]
    viewers = []
    for file in talk:
        with file.open("w") as stderr:
            viewers.append(
                subprocess.Popen(command, env=clean_environment(), stderr=stderr, stdout=subprocess.PIPE, text=True)
            )
    end = time.monotonic() + 120
    while not all("images/s" in file.read_text() for file in talk):
        assert time.monotonic() < end
        time.sleep(0.05)
    viewers[0].kill()
    viewers[0].communicate()
    assert process.poll() is None
    folder.stop_file.touch()
    stdout, _ = viewers[1].communicate(timeout=120)
    said = talk[1].read_text()
    assert (viewers[1].returncode, stdout) == (0, "")
    assert "\x1b" not in said
    assert "step 1/100, loss 2.5000, 7 images/s" in said
    assert "stopped after step 7 of 100" in said


def test_a_folder_that_vanishes_is_a_sentence(running: Any) -> None:
    import shutil

    folder, process = running
    viewer = subprocess.Popen(
        [sys.executable, "-m", "tleg.cli", "attach", str(folder.path)],
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert viewer.stderr is not None
    assert viewer.stderr.readline() == "running\n"
    process.kill()
    process.wait()
    shutil.rmtree(folder.path)
    _, stderr = viewer.communicate(timeout=120)
    assert viewer.returncode == 1
    assert "Traceback" not in stderr


LEARN = [
    *("learn", "--architecture=vit_tiny_patch16_224", "--model-arg=img_size=8", "--model-arg=patch_size=2"),
    *("--model-arg=embed_dim=32", "--model-arg=num_heads=2", "--model-arg=in_chans=1", "--sample-depths=2,3"),
    *("--evaluate-depths=2", "--batch-size=40", "--workers=0", "--device=cpu"),
]


def test_a_run_from_start_to_result(runs_dir: Path, digits_folder: Path, run_tleg: RunCli, run_cli: RunCli) -> None:
    """Started detached, stopped, resumed for longer, used as a start: as a user would."""
    environment = {"TLEG_RUNS": str(runs_dir), "PYTHONWARNINGS": "ignore"}
    begun = run_tleg(*LEARN, "--data", digits_folder, "--epochs=4000", "--detach", environment=environment)
    assert begun.code == 0, begun.stderr
    run = begun.stdout.strip()
    folder = RunFolder(runs_dir / run)
    end = time.monotonic() + 120
    while observe(folder).state != "running" or not (observe(folder).step or 0) > 1:
        assert time.monotonic() < end, folder.log_file.read_text()
        time.sleep(0.1)
    assert run_cli("stop", "last").code == 0
    step = observe(folder).step
    assert step is not None
    epochs = step // 5 + 3
    result = run_cli("resume", "last", "--epochs", "1")
    assert "epochs already; give more --epochs than that" in result.stderr
    result = run_cli("resume", "last", "--epochs", epochs, "--json")
    assert result.code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["run"] == run
    assert set(document["top1"]) == {"2"}
    (amendment,) = read_spec(folder).amendments
    assert amendment["changes"] == {"epochs": epochs}
    assert read_spec(folder).recipe["epochs"] == epochs
    tuned = run_cli("finetune", "--learngene", run, "--depth", 3, "--data", digits_folder, "--epochs", 1, *LEARN[-3:])
    assert tuned.code == 0, tuned.stderr
    output = Path(tuned.stdout.split("  ")[0])
    lineage = json.loads((output / "training.json").read_text())["lineage"]
    assert (lineage["learngene"], lineage["depth"]) == (run, 3)


def test_a_dry_run_finds_what_is_wrong(digits_folder: Path, runs_dir: Path, run_cli: RunCli) -> None:
    result = run_cli(*LEARN, "--data", digits_folder, "--dry-run", "--json")
    assert result.code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["training"], found["validation"], found["classes"], found["depth"]) == (200, 50, 10, 3)
    assert found["steps"] == 30 * 5
    assert found["memory"]["weights"] > 0
    assert found["problems"] == []
    assert not runs_dir.exists()
    shown = run_cli(*LEARN, "--data", digits_folder, "--dry-run").stdout
    assert "200 training and 50 validation images" in shown


def test_a_dry_run_finds_a_full_disk(
    digits_folder: Path, runs_dir: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tleg.training.dry_run.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    result = run_cli(*LEARN, "--data", digits_folder, "--dry-run", "--json")
    (problem,) = json.loads(result.stdout)["problems"]
    # In the units of the line above it: small numbers are no zeros.
    assert re.fullmatch(r"\d+\.\d [kM]B of disk are needed and 1\.0 kB are free in .*", problem)
    assert result.code == 1


def test_a_printed_recipe_repeats_the_run(digits_folder: Path, runs_dir: Path, run_cli: RunCli, tmp_path: Path) -> None:
    given = (*LEARN, "--data", digits_folder, "--epochs", 1, "--basis", "polynomial:2", "--mixup", 0.8, "--seed", 3)
    printed = run_cli(*given, "--print-recipe")
    assert not runs_dir.exists()
    (tmp_path / "recipe.toml").write_text(printed.stdout)
    for name, words in (("a", given), ("b", ("learn", "--recipe", tmp_path / "recipe.toml"))):
        done = run_cli(*words, "--output", tmp_path / f"{name}.safetensors")
        assert done.code == 0, done.stderr
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_slurm(
    digits_folder: Path, runs_dir: Path, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--slurm", "--partition", "gpu", "--time", "2:00:00", "--sbatch", "mem=64G")
    printed = run_cli(*LEARN, "--data", digits_folder, *options, "--devices", 4, "--print")
    assert printed.code == 0, printed.stderr
    for line in ("#SBATCH --partition=gpu", "#SBATCH --time=2:00:00", "#SBATCH --mem=64G", "#SBATCH --ntasks-per-node=4"):
        assert line in printed.stdout.splitlines()
    assert "--requeue" in printed.stdout
    assert not list(runs_dir.glob("2*"))
    without = run_cli(*LEARN, "--data", digits_folder, "--slurm")
    assert without.code != 0
    assert "sbatch" in without.stderr
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, answer in (("sbatch", "echo 4711"), ("scancel", f'echo "$@" > {tmp_path}/cancelled')):
        (programs / name).write_text(f"#!/bin/sh\n{answer}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    submitted = run_cli(*LEARN, "--data", digits_folder, *options, "--json")
    assert submitted.code == 0, submitted.stderr
    document = json.loads(submitted.stdout)
    assert (document["state"], document["job"]) == ("queued", "4711")
    assert run_cli("stop", document["run"]).code == 0
    assert (tmp_path / "cancelled").read_text().strip() == "4711"
