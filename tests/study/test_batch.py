"""Studies as jobs of SLURM, with stand-ins for its programs."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import CommandResult
from tests.study.cluster import Cluster, make_cluster
from tests.study.documents import document
from tleg.errors import InputError, TlegError
from tleg.runs.run import RunFolder
from tleg.runs.slurm import SlurmOptions
from tleg.runs.spec import read_spec
from tleg.runs.state import RunState, observe, read_state, write_state
from tleg.runs.work import WorkFolder
from tleg.study import batch
from tleg.study.batch import Batch
from tleg.study.file import make_study
from tleg.study.results import StudyResults
from tleg.study.schedule import Progress, Scheduler
from tleg.study.slots import Here

# A learngene, and what is made of it; and one that is chosen among two rates.
ARMS = {
    "gene": {"kind": "learn", "lr": 3e-3},
    "further": {"kind": "finetune", "start": "gene", "lr": 1e-3, "epochs": 1},
    "tuned": {"kind": "train", "tune": {"lr": [1e-3, 3e-3]}},
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return make_cluster(tmp_path, monkeypatch)


@pytest.fixture
def held(cluster: Cluster) -> Cluster:
    """One on which nothing is started."""
    cluster.hold()
    return cluster


def scheduler_of(values: dict[str, Any], folder: Path, said: list[Progress], most: int | None = None) -> Scheduler:
    options = SlurmOptions(partition="gpu", time="1:00:00")
    return Scheduler(make_study(values), WorkFolder(folder), Batch(options, most), report=said.append)


def submit(values: dict[str, Any], folder: Path, most: int | None = None) -> tuple[StudyResults, list[Progress]]:
    said: list[Progress] = []
    return scheduler_of(values, folder, said, most).train(wait=False), said


def at_each_look(monkeypatch: pytest.MonkeyPatch, function: Callable[[], None]) -> None:
    """Call a function where the scheduler would wait."""
    clock = SimpleNamespace(sleep=lambda _: function(), monotonic=time.monotonic)
    monkeypatch.setattr("tleg.study.schedule.time", clock)


def end_all(cluster: Cluster) -> None:
    for job in cluster.commands():
        cluster.end(job)


def run_of(folder: Path, task: str) -> RunFolder:
    study = WorkFolder(folder)
    study.read()
    run = study.run_of(task)
    assert run is not None, task
    return run


def test_what_is_known_is_submitted_and_the_rest_is_counted(held: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    results, said = submit(document(arms=ARMS), folder)
    assert not results.failed
    # The values first, then a seed; what is chosen later is not there yet.
    assert held.commands() == {
        **dict.fromkeys(("100", "101", "102", "103", "104"), ""),
        **dict.fromkeys(("105", "106"), "--dependency=afterok:104 --kill-on-invalid-dep=yes"),
    }
    assert "#SBATCH --partition=gpu\n" in held.script("105")
    assert said[-1].what == "left"
    assert said[-1].text == (
        "0 of 9 trainings ended, 7 are at work or in the queue, 2 remain for the same command to go on with"
    )
    # A descendant names the result, which is there only when its learngene is learned to the end.
    gene, further = run_of(folder, "gene/digits/seed-0"), run_of(folder, "further/digits/seed-0/depth-3")
    assert read_spec(further).recipe["learngene"] == str(gene.exports.absolute() / "learngene.safetensors")
    assert read_spec(gene).launch.job_id == "104"
    # The number of threads is that of the machine of the job.
    assert read_spec(gene).recipe["threads"] == "auto"


def test_the_same_command_submits_nothing_twice(held: Cluster, tmp_path: Path) -> None:
    submit(document(arms=ARMS), tmp_path / "study")
    before = held.commands()
    results, said = submit(document(arms=ARMS), tmp_path / "study")
    assert held.commands() == before
    assert not results.failed
    assert [each.what for each in said] == ["left"]


def test_at_most_so_many_jobs_are_in_the_queue(held: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    _, said = submit(document(arms=ARMS), folder, most=3)
    assert len(held.commands()) == 3
    assert "3 are at work or in the queue, 6 remain" in said[-1].text
    submit(document(arms=ARMS), folder, most=3)
    assert len(held.commands()) == 3
    submit(document(arms=ARMS), folder, most=6)
    assert len(held.commands()) == 6


def test_jobs_are_found_again_whichever_arm_comes_first(held: Cluster, tmp_path: Path) -> None:
    values = document(arms={name: ARMS[name] for name in ("further", "gene")})
    submit(values, tmp_path / "study")
    submit(values, tmp_path / "study")
    assert len(held.commands()) == 3
    assert not held.ended()


def test_what_is_trained_anew_leaves_the_queue(held: Cluster, tmp_path: Path) -> None:
    values = document(arms={"gene": ARMS["gene"]})
    submit(values, tmp_path / "study")
    values["arms"] = {"gene": {"kind": "learn", "lr": 1e-2}}
    said: list[Progress] = []
    study, folder = make_study(values), WorkFolder(tmp_path / "study")
    with pytest.raises(InputError, match="was trained with another lr"):
        Scheduler(study, folder, Batch(SlurmOptions())).train(wait=False)
    Scheduler(study, folder, Batch(SlurmOptions()), force=True, report=said.append).train(wait=False)
    assert [each.what for each in said] == ["started", "left"]
    assert (list(held.commands()), held.ended()) == (["100", "101"], {"100": "cancelled"})


def test_a_job_that_left_the_queue_is_submitted_again(held: Cluster, tmp_path: Path) -> None:
    folder, values = tmp_path / "study", document(arms={name: ARMS[name] for name in ("gene", "further")})
    submit(values, folder)
    assert list(held.commands()) == ["100", "101", "102"]
    held.end("101", "cancelled")
    _, said = submit(values, folder)
    assert [(each.what, each.task) for each in said][:-1] == [("started", "further/digits/seed-0/depth-2")]
    assert held.commands()["103"] == "--dependency=afterok:100 --kill-on-invalid-dep=yes"
    run = run_of(folder, "further/digits/seed-0/depth-2")
    assert read_spec(run).launch.job_id == "103"
    assert observe(run).state == "queued"


def test_what_waits_for_a_training_that_fails_is_taken_out(
    held: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, values = tmp_path / "study", document(arms={name: ARMS[name] for name in ("gene", "further")})
    said: list[Progress] = []
    scheduler = scheduler_of(values, folder, said)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        gene = run_of(folder, "gene/digits/seed-0")
        job = read_spec(gene).launch.job_id or ""
        if job not in held.ended():
            held.end(job, "1")
            write_state(gene, replace(read_state(gene), state="failed", message="out of memory", exit_code=1))

    at_each_look(monkeypatch, look)
    results = scheduler.train()
    # Tried once more, with all that waits for it behind the new job.
    assert looks == 2
    assert {each.task: each.reason for each in results.failed} == {
        "gene/digits/seed-0": "out of memory",
        **{f"further/digits/seed-0/depth-{depth}": "it needs gene/digits/seed-0, which failed" for depth in (2, 3)},
    }
    assert list(held.commands().values()) == [
        "",
        *["--dependency=afterok:100 --kill-on-invalid-dep=yes"] * 2,
        "",
        *["--dependency=afterok:103 --kill-on-invalid-dep=yes"] * 2,
    ]
    assert held.ended() == {"100": "1", "103": "1", **dict.fromkeys(("101", "102", "104", "105"), "cancelled")}


def test_what_is_behind_a_job_that_vanished_waits_here_until_that_is_done(
    held: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_LOOK_SECONDS", 0.0)
    folder, values = tmp_path / "study", document(arms={name: ARMS[name] for name in ("gene", "further")}, depths=[2])
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            held.end("101", "cancelled")
        if looks == 5:
            # Not put behind the same job again, which somebody or SLURM did not want.
            assert list(held.commands()) == ["100", "101"]
            gene = run_of(folder, "gene/digits/seed-0")
            write_state(gene, replace(read_state(gene), state="failed", message="refused", exit_code=2))

    at_each_look(monkeypatch, look)
    results = scheduler_of(values, folder, []).train()
    assert [each.reason for each in results.failed] == ["refused", "it needs gene/digits/seed-0, which failed"]
    assert list(held.commands()) == ["100", "101"]


def test_a_job_that_vanishes_while_it_is_waited_for(held: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_LOOK_SECONDS", 0.0)
    at_each_look(monkeypatch, lambda: end_all(held))
    results = scheduler_of(document(arms={"gene": ARMS["gene"]}), tmp_path / "study", []).train()
    # Twice, as with everything that fails.
    assert list(held.commands()) == ["100", "101"]
    (failed,) = results.failed
    assert failed.reason == "its job left SLURM's queue without having begun"


def test_an_interrupt_takes_waiting_jobs_out(held: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        # A second interrupt would leave the jobs where they are.
        at_each_look(monkeypatch, lambda: None)
        raise KeyboardInterrupt

    folder = tmp_path / "study"
    at_each_look(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        scheduler_of(document(arms=ARMS), folder, []).train()
    assert held.ended() == dict.fromkeys(held.commands(), "cancelled")
    assert observe(run_of(folder, "gene/digits/seed-0")).state == "stopped"
    # And the same command goes on.
    _, said = submit(document(arms=ARMS), folder)
    assert [each.what for each in said] == [*["resumed"] * 7, "left"]


def test_a_study_that_was_begun_with_slurm_goes_on_without(
    held: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, values = tmp_path / "study", document(arms={"tuned": ARMS["tuned"]}, depths=[2])
    submit(values, folder)
    held.end("100", "cancelled")
    resumed: list[tuple[str, Any]] = []

    def resume(run: RunFolder, changes: Any, place: str) -> None:
        resumed.append((run.id, place))
        write_state(run, RunState(state="stopped"))

    def begin() -> None:
        # The job that is still in the queue fails, so that all is over.
        second = run_of(folder, "tuned/digits/tuning-1000/1/depth-2")
        write_state(second, RunState(state="failed", exit_code=2, message="refused"))

    monkeypatch.setattr("tleg.study.slots.resume_training", resume)
    at_each_look(monkeypatch, begin)
    results = Scheduler(make_study(values), WorkFolder(folder), Here(1)).train()
    # The one whose job is gone is trained here; the other was waited for.
    assert resumed == [(run_of(folder, "tuned/digits/tuning-1000/0/depth-2").id, "here")]
    assert [each.reason for each in results.failed] == ["refused", "the run is stopped"]


def test_a_refused_job_leaves_no_run(held: Cluster, tmp_path: Path) -> None:
    (held.jobs / "refuse").touch()
    folder, values = tmp_path / "study", document(arms={"gene": ARMS["gene"]})
    results, _ = submit(values, folder)
    assert "no partition of that name" in results.failed[0].reason
    assert not list((folder / "runs").glob("*/spec.json"))
    (held.jobs / "refuse").unlink()
    results, _ = submit(values, folder)
    assert (results.failed, len(held.commands())) == ((), 1)


def test_a_lost_run_whose_job_is_in_the_queue_is_waited_for(
    held: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_LOOK_SECONDS", 0.0)
    folder, looks = tmp_path / "study", 0

    def look() -> None:
        nonlocal looks
        looks += 1
        gene = run_of(folder, "gene/digits/seed-0")
        if looks == 1:
            write_state(gene, RunState(state="running", host="node-of-another-time", heartbeat=1.0))
            for file in (gene.state_file, gene.events_file):
                file.touch()
                os.utime(file, (1, 1))
            assert observe(gene).state == "lost"
        elif looks == 4:
            held.end("100", "1")

    at_each_look(monkeypatch, look)
    scheduler = scheduler_of(document(arms={"gene": ARMS["gene"]}), folder, [])
    scheduler._tries["gene/digits/seed-0"] = 1
    assert "nothing heard from node-of-another-time" in scheduler.train().failed[0].reason
    assert looks == 4


def test_without_sbatch_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TlegError, match="there is no sbatch"):
        Batch(SlurmOptions())


def test_the_options_of_the_command(held: Cluster, run_cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        'seeds = [0]\ndepths = [2]\n[data.d]\ndata = "digits"\n[arms.a]\nkind = "train"\nmodel = "vit_tiny_patch16_224"\n'
    )
    for words, says in (
        (("--submit-only",), "--submit-only belongs to --slurm"),
        (("--partition", "gpu"), "belong to --slurm"),
        (("--slurm", "--slots", "0"), "slots are 1 to 1024, not 0"),
        (("--slots", "many"), "slots are a number or auto, not 'many'"),
        (("--slurm", "--slots", "auto"), "--slots auto counts GPUs here"),
    ):
        done: CommandResult = run_cli("study", file, *words)
        assert (done.code, says in done.stderr) == (2, True), done.stderr
    done = run_cli("study", file, "--slurm", "--submit-only", "--partition", "big", "--sbatch", "mem=64G")
    assert done.code == 0, done.stderr
    assert "0 of 1 trainings ended, 1 are at work or in the queue, 0 remain" in done.stderr
    script = held.script("100")
    assert "#SBATCH --partition=big\n" in script
    assert "#SBATCH --mem=64G\n" in script


def test_only_jobs_go_on_by_themselves(tmp_path: Path) -> None:
    import tleg

    with pytest.raises(InputError, match="only jobs of SLURM"):
        tleg.run_study(tmp_path / "none.toml", wait=False)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_study_is_trained_by_jobs(digits: Path, tmp_path: Path) -> None:
    folder, said = tmp_path / "study", list[Progress]()
    values = document(digits, arms=ARMS, depths=[2, 3])
    values["common"]["device"] = "cpu"
    results = scheduler_of(values, folder, said, most=2).train()
    assert results.complete, results.failed
    assert len(results.trained) == 5
    assert results.machine == "jobs of SLURM, partition gpu, 2 at a time"
    gene = next(each for each in results.trained if each.arm == "gene")
    for each in results.trained:
        if each.arm == "further":
            assert each.depth is not None
            assert each.macs is not None
            assert each.top1[each.depth] > gene.top1[each.depth] - 10
    assert results == scheduler_of(values, folder, said, most=2).train()
