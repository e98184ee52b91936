"""Studies that are really trained: on digits, in seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CommandResult
from tests.study.documents import MODEL, document
from tleg.errors import InputError
from tleg.learngene.container import read_file
from tleg.runs.listing import list_runs
from tleg.runs.work import WorkFolder
from tleg.study.collect import epoch_seconds
from tleg.study.compute import count_model
from tleg.study.file import make_study
from tleg.study.measured import Measured
from tleg.study.plan import Plan, check_grid
from tleg.study.results import StudyResults, read_results
from tleg.study.schedule import Progress, Scheduler
from tleg.study.slots import Here
from tleg.text import format_count

pytestmark = pytest.mark.usefixtures("forks")


def study_of(values: dict[str, Any], folder: Path, slots: int = 2, **given: Any) -> tuple[StudyResults, list[Progress]]:
    said: list[Progress] = []
    scheduler = Scheduler(make_study(values), WorkFolder(folder), Here(slots), report=said.append, **given)
    return scheduler.train(), said


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResults, Path]:
    """The small study, trained once."""
    folder = tmp_path_factory.mktemp("study")
    results, _ = study_of(document(digits), folder)
    return results, folder


def test_values_are_chosen_and_every_task_is_trained(trained: tuple[StudyResults, Path]) -> None:
    results, _ = trained
    assert results.complete
    assert not results.failed
    assert [each.task for each in results.trained] == [
        "gene/digits/seed-0",
        "further/digits/seed-0/depth-2",
        "further/digits/seed-0/depth-3",
    ]
    # A rate of 1e-9 learns nothing.
    worse, better = results.tried
    assert (worse.chosen, better.chosen) == (False, True)
    assert better.values == {"lr": 3e-3}
    assert better.top1 is not None
    assert worse.top1 is not None
    assert better.top1 > worse.top1 + 5
    assert results.trained[0].values["lr"] == 3e-3


def test_what_is_measured_is_what_the_runs_have(trained: tuple[StudyResults, Path]) -> None:
    results, folder = trained
    gene, *further = results.trained
    path = folder / "runs" / gene.run / "exports" / "learngene.safetensors"
    header = read_file(path).header
    assert header.reached is not None
    assert gene.top1 == dict(header.reached.top1)
    assert set(gene.top1) == {2, 3}
    assert gene.bytes == path.stat().st_size
    assert gene.images == 2 * 1000
    # Depth 2 is drawn three times where depth 3 is drawn twice.
    assert gene.macs == 3 * 2000 * (3 * header.cost.macs.at(2) + 2 * header.cost.macs.at(3)) // 5
    assert gene.seconds is not None
    assert gene.seconds > 0
    assert [point.epoch for point in gene.curve] == [1.0, 2.0]
    for each in further:
        assert each.depth is not None
        assert each.parameters == header.cost.parameters.at(each.depth)
        assert each.macs == 3 * 1000 * header.cost.macs.at(each.depth)
        assert list(each.top1) == [each.depth]
        assert each.curve[-1].top1 == each.top1
        # The descendant starts from what the learngene reached.
        assert each.top1[each.depth] > gene.top1[each.depth] - 10


def test_results_are_in_the_folder_and_nothing_is_trained_again(trained: tuple[StudyResults, Path], digits: Path) -> None:
    results, folder = trained
    assert read_results(folder / "results.json") == results
    runs = {run.id for run in list_runs(folder / "runs")}
    again, said = study_of(document(digits), folder, slots=1)
    assert again.trained == results.trained
    assert not [each for each in said if each.what in ("started", "resumed")]
    assert {run.id for run in list_runs(folder / "runs")} == runs


def test_another_recipe_of_a_training_is_refused_by_name(trained: tuple[StudyResults, Path], digits: Path) -> None:
    _, folder = trained
    changed = document(digits)
    changed["common"]["weight-decay"] = 0.3
    with pytest.raises(
        InputError, match=r"gene/digits/tuning-1000/0 was trained with another weight-decay \(0.05, now 0.3\)"
    ):
        study_of(changed, folder)


def test_a_run_that_was_made_and_not_noted_is_found(trained: tuple[StudyResults, Path], digits: Path) -> None:
    _, folder = trained
    file = folder / "study.json"
    runs = json.loads(file.read_text())
    file.write_text(json.dumps({task: run for task, run in runs.items() if task != "gene/digits/seed-0"}))
    _, said = study_of(document(digits), folder)
    assert not [each for each in said if each.what == "started"]
    assert json.loads(file.read_text()) == runs


def test_a_training_that_fails_takes_what_needs_it_along(digits: Path, tmp_path: Path) -> None:
    values = document(digits)
    values["arms"]["gene"] = {"kind": "learn", "batch-size": 4000, "lr": 1e-3}
    results, said = study_of(values, tmp_path / "study")
    assert not results.complete
    failed = {each.task: each.reason for each in results.failed}
    assert "1000 training images are too few for a batch of 4000" in failed["gene/digits/seed-0"]
    assert failed["further/digits/seed-0/depth-2"] == "it needs gene/digits/seed-0, which failed"
    assert [each.what for each in said].count("failed") == 3
    assert not [each for each in said if each.what == "resumed"]  # What is refused would be refused again.


def test_one_works_on_a_folder_at_a_time(tmp_path: Path) -> None:
    with WorkFolder(tmp_path / "study").at_work(), pytest.raises(InputError, match="another `tleg study` is at work"):
        study_of(document(), tmp_path / "study")
    with WorkFolder(tmp_path / "study").at_work():  # It was let go.
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write the folder .* of the study"):
        study_of(document(), tmp_path / "file" / "study")


def test_the_command_checks_and_lists(run_cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        'seeds = [0]\ndepths = [2]\n[data.d]\ndata = "digits"\n[arms.a]\nkind = "train"\nmodel = "vit_tiny_patch16_224"\n'
    )
    done: CommandResult = run_cli("study", file, "--dry-run")
    assert (done.code, done.stdout) == (0, "a/d/seed-0/depth-2  10 epochs\n")
    file.write_text("seeds = 3")
    done = run_cli("study", file)
    assert done.code == 2
    assert "seeds must be a list" in done.stderr
    assert not (tmp_path / "study").exists()


def test_a_dry_run_shows_epochs_and_computing(run_cli: Any, digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    text = (
        f'seeds = [0]\ndepths = [2, 3]\nbudget = {{ images = 4000, of = "family" }}\n[data.d]\ndata = "{digits}"\n'
        '[arms.a]\nkind = "train"\nmodel = "vit_tiny_patch16_224"\n'
        "model-arg = { img_size = 8, patch_size = 2, embed_dim = 32, num_heads = 2 }\n"
    )
    file.write_text(text)
    macs = [
        format_count(3 * 2 * 1000 * count_model("vit_tiny_patch16_224", {**MODEL, "depth": depth}, 10, (3, 8, 8)).macs)
        for depth in (2, 3)
    ]
    done: CommandResult = run_cli("study", file, "--dry-run")
    assert done.stdout.splitlines() == [
        f"a/d/seed-0/depth-2  2 epochs  {macs[0]} MACs",
        f"a/d/seed-0/depth-3  2 epochs  {macs[1]} MACs",
    ]
    file.write_text(text.replace("images = 4000", "minutes = 4"))
    done = run_cli("study", file, "--dry-run")
    assert [line.split("  ")[:2] for line in done.stdout.splitlines()] == [
        ["a/d/speed/depth-2", "1 epoch"],
        ["a/d/speed/depth-3", "1 epoch"],
        ["a/d/seed-0/depth-2", "as many epochs as time allows"],
        ["a/d/seed-0/depth-3", "as many epochs as time allows"],
    ]


@pytest.mark.slow
def test_a_budget_of_time_is_measured_first_and_again_the_same(digits: Path, tmp_path: Path) -> None:
    arms = {"free": {"kind": "train", "lr": 1e-3}, "other": {"kind": "train", "lr": 1e-3, "epochs": 1}}
    values = {**document(digits, arms=arms, depths=[2]), "budget": {"minutes": 1e-9}}
    del values["epochs"]
    results, said = study_of(values, tmp_path / "study")
    assert next(each.task for each in said if each.what == "started") == "free/digits/speed/depth-2"
    # What it is enough for is known once an epoch was measured; the training fails with that, and no other does.
    (failed,) = results.failed
    assert failed.task == "free/digits/seed-0/depth-2"
    assert "a budget of 1e-09 minutes is less than half an epoch" in failed.reason
    assert [each.task for each in results.trained] == ["other/digits/seed-0/depth-2"]
    runs = WorkFolder(tmp_path / "study")
    runs.read()
    speed = runs.run_of("free/digits/speed/depth-2")
    assert speed is not None
    seconds = epoch_seconds(speed)
    assert seconds is not None
    assert 0 < seconds < 60
    # Time for two epochs, as that one run says: also when the study goes on.
    values["budget"] = {"minutes": 2 * seconds / 60}
    for _ in range(2):
        results, said = study_of(values, tmp_path / "study")
        assert results.complete
        assert [each.epochs for each in results.trained] == [2, 1]
    assert not [each for each in said if each.what == "started"]
    assert results.budget == {"minutes": 2 * seconds / 60, "of": "training", "own": {"other": 1}}


@pytest.mark.slow
def test_a_sandwich_and_a_teacher_are_counted(digits: Path, tmp_path: Path) -> None:
    arms = {
        "big": {"kind": "train", "lr": 3e-3, "epochs": 8},
        "gene": {"kind": "learn", "lr": 1e-3, "sampling": "sandwich", "teacher": "arm:big", "teacher-depth": 3},
        "labels": {
            "kind": "finetune",
            "start": "gene",
            "teacher": "arm:big",
            "teacher-depth": 3,
            "distillation-weight": 0.0,
        },
    }
    values = document(digits, arms=arms, depths=[2, 3], epochs=1)
    plan = Plan(make_study(values))
    planned = {each.task.name: plan.macs(each) for each in check_grid(make_study(values), plan)}
    results, _ = study_of(values, tmp_path / "study")
    assert results.complete, results.failed
    macs = {each.task.removeprefix(f"{each.arm}/digits/seed-0"): each.macs for each in results.trained if each.arm == "big"}
    (gene,) = (each for each in results.trained if each.arm == "gene")
    header = read_file(tmp_path / "study" / "runs" / gene.run / "exports" / "learngene.safetensors").header
    deep, shallow = (header.cost.macs.at(depth) for depth in (3, 2))
    # timm's ViT has a class token, a learngene's has none.
    teacher = (macs["/depth-3"] or 0) / (3 * 8000)
    assert teacher > deep
    assert gene.macs == 1000 * (3 * (deep + shallow) + teacher)
    labels = [each.macs for each in results.trained if each.arm == "labels"]
    assert labels == [3 * 1000 * shallow, 3 * 1000 * deep]
    # What is measured is what was planned.
    assert planned == {each.task: each.macs for each in results.trained}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_study_that_was_ended_goes_on(digits: Path, tmp_path: Path, child_environment: Any, number: int) -> None:
    file, folder = tmp_path / "s.py", tmp_path / "study"
    values = document(digits, epochs=40)
    modules = ("tleg.runs.work", "tleg.study.schedule", "tleg.study.slots", "tleg.study.file", "pathlib")
    imports = "".join(f"from {module} import *\n" for module in modules)
    file.write_text(f"{imports}Scheduler(make_study({values!r}), WorkFolder(Path({str(folder)!r})), Here(2)).train()\n")
    with subprocess.Popen([sys.executable, file], env=child_environment(), start_new_session=True) as child:
        end = time.monotonic() + 60
        while time.monotonic() < end and not list((folder / "runs").glob("*/checkpoints/step-*")):
            time.sleep(0.1)
        os.kill(child.pid, number)
        child.wait(60)
    runs = {run.id for run in list_runs(folder / "runs")}
    assert len(runs) == 2
    results, said = study_of(values, folder)
    assert results.complete
    assert len(list_runs(folder / "runs")) == 5
    assert runs <= {run.id for run in list_runs(folder / "runs")}
    resumed = [each for each in said if each.what == "resumed"]
    assert len(resumed) == (2 if number == signal.SIGINT else 0)


def test_a_learngene_grows_out_of_another_one(digits: Path, tmp_path: Path) -> None:
    arms = {
        "shared": {"kind": "learn", "expand": "norm", "lr": 3e-3, "epochs": 6},
        "grown": {"kind": "learn", "start": "arm:shared", "lr": 1e-12, "epochs": 1},
        "big": {
            "kind": "train",
            "lr": 3e-3,
            "epochs": 6,
            "model-arg": {**MODEL, "class_token": False, "global_pool": "avg", "fc_norm": False},
        },
        "fitted": {"kind": "learn", "start": "arm:big", "start-depth": 2, "lr": 1e-12, "epochs": 1},
        "pruned": {"kind": "finetune", "init": "prune", "start": "big", "start-depth": 3, "lr": 1e-12, "epochs": 1},
    }
    results, _ = study_of(document(digits, arms=arms, epochs=1), tmp_path / "study")
    assert results.complete, results.failed
    top1 = {each.arm: each.top1 for each in results.trained if each.depth in (None, 2)}
    # At a rate that moves nothing it is what it began with; two layers are met by two terms.
    assert top1["grown"] == pytest.approx(top1["shared"], abs=0.5)
    assert top1["fitted"][2] == pytest.approx(top1["big"][2], abs=0.5)
    assert min(top1["grown"][2], top1["fitted"][2]) > 20
    whole = {each.arm: each.top1[3] for each in results.trained if each.depth == 3}
    assert whole["pruned"] == pytest.approx(whole["big"], abs=0.5)
    text = '[arms.grown]\nstart = "arm:shared"\n[arms.fitted]\nstart = "arm:big"\nstart-depth = 2\n'
    measured = Measured(replace(results, study=text))
    assert (measured.start("grown"), measured.start("fitted")) == ("shared", "big")
    macs = {each.task: each.macs or 0 for each in results.trained}
    assert measured.family("grown", "digits", "macs", with_start=True) == (
        macs["grown/digits/seed-0"] + macs["shared/digits/seed-0"]
    )
    assert measured.before("fitted", "digits", "macs") == macs["big/digits/seed-0/depth-2"]
