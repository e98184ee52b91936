"""Runs as starts and teachers, finished or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, learn_job
from tleg.data.datasets import Data
from tleg.errors import InputError
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Recipe
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, write_state
from tleg.training.checkpoint import Checkpoints, read_checkpoint
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_checkpoint, init_from_learngene, init_from_timm
from tleg.training.learn import learn, learn_to_file
from tleg.training.names import resolve_model
from tleg.training.observer import TrainingStoppedError
from tleg.training.teacher import Teacher

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that has not begun."""
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    return create_run(tmp_path / "runs", kind="learn", recipe={})


@pytest.fixture
def tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of a fine-tuning that has not begun."""
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    return create_run(tmp_path / "runs", kind="finetune", recipe={})


def test_an_unfinished_fine_tuning_is_a_start_and_a_teacher(
    tuning: RunFolder, digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    job = finetune_job(digits, init_from_timm(VIT, {**ARGUMENTS, "depth": 2}), recipe=recipe(ema=0.5))
    checkpoints = Checkpoints(tuning.checkpoints, job.recipe.keeping)
    with pytest.raises(InputError, match=f"the run {tuning.id} has no checkpoint that can be used yet"):
        resolve_model(tuning.id, "folder")
    with pytest.raises(TrainingStoppedError):
        finetune(job, placement, tuning.exports / "model", observer=Recorder(stop_after=5), checkpoints=checkpoints)
    stored = read_checkpoint(checkpoints.paths()[0]).tensors["ema"]
    for text in (tuning.id, tuning.id[:16], "last", str(tuning.path)):
        model: Any = timm.create_model(f"local-dir:{resolve_model(text, 'folder').place}", pretrained=True)
        assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    start = init_from_checkpoint(tuning.id)(digits)
    assert start.depth == 2
    assert Teacher.open(tuning.id, digits.classes)(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_run_that_learns_is_a_start_before_it_is_finished_and_after(
    run: RunFolder, digits: Data, placement: Placement, recipe: MakeRecipe
) -> None:
    job = learn_job(digits, VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=recipe(epochs=1))
    checkpoints = Checkpoints(run.checkpoints, job.recipe.keeping)
    with pytest.raises(TrainingStoppedError):
        learn(job, placement, observer=Recorder(stop_after=4), checkpoints=checkpoints)
    early = init_from_learngene(run.id, 5)(digits)
    assert (early.lineage["learngene"], early.lineage["head"]) == (run.id, "kept")
    assert len(early.model.blocks) == 5  # type: ignore[arg-type]
    with pytest.raises(InputError, match="learns a learngene; give its depth"):
        resolve_model(run.id, "folder", "weights")
    learngene = learn_to_file(job, placement, run.exports / "learngene.safetensors", checkpoints=checkpoints)
    write_state(run, RunState(state="finished", result=str(run.exports / "learngene.safetensors")))
    late = init_from_learngene(str(run.path), 5)(digits)
    expected = learngene.expand(5).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in late.model.state_dict().items())
    assert late.lineage["sha256"] == learngene.hash()


def test_every_command_takes_a_run_finished_or_not(
    run: RunFolder,
    tuning: RunFolder,
    digits: Data,
    digits_folder: Path,
    placement: Placement,
    recipe: MakeRecipe,
    run_cli: Callable[..., Any],
    tmp_path: Path,
) -> None:
    job = learn_job(digits, VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=recipe(epochs=1))
    with pytest.raises(TrainingStoppedError):
        learn(job, placement, observer=Recorder(stop_after=4), checkpoints=Checkpoints(run.checkpoints, job.recipe.keeping))
    single = finetune_job(digits, init_from_timm(VIT, {**ARGUMENTS, "depth": 2}), recipe=recipe())
    with pytest.raises(TrainingStoppedError):
        finetune(
            single,
            placement,
            tuning.exports / "model",
            observer=Recorder(stop_after=4),
            checkpoints=Checkpoints(tuning.checkpoints, single.recipe.keeping),
        )
    for finished in (False, True):
        if finished:
            learn_to_file(job, placement, run.exports / "learngene.safetensors")
            write_state(run, RunState(state="finished", result=str(run.exports / "learngene.safetensors")))
        for words in (
            ("preview", run.id, "--depths", "2"),
            ("inspect", run.id),
            ("verify", run.id),
            ("evaluate", run.id, "--data", digits_folder, "--depths", "2"),
            ("build", run.id, "--depth", "2", "--export", "onnx", "--output", tmp_path / f"out{finished}"),
        ):
            done = run_cli(*words)
            assert done.code == 0, (words, done.stderr)
        assert (tmp_path / f"out{finished}" / f"{run.id}-depth2.onnx").is_file()
    last: tuple[tuple[str | Path, ...], ...] = (
        ("evaluate", tuning.id, "--data", digits_folder),
        ("build", tuning.id, "--export", "onnx", "--output", tmp_path / "tuned"),
        ("verify", tuning.id),
    )
    for told in last:
        done = run_cli(*told)
        assert done.code == 0, (told, done.stderr)
    assert (tmp_path / "tuned" / f"{tuning.id}.onnx").is_file()
    refused = run_cli("preview", tuning.id)
    assert refused.code == 2
    assert f"the run {tuning.id} trains one model, not a learngene" in refused.stderr
    assert "could be" in run_cli("preview", run.id[:6]).stderr
