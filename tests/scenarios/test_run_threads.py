"""A run keeps the threads that it began with, and so goes on to the same bits; another number is asked for."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import clean_environment
from tests.data.fashion_files import fill_fashion_mnist
from tests.scenarios.test_run import LEARN
from tleg.launch import resume_training
from tleg.models.learngene import load
from tleg.recipes.io import from_values, to_values
from tleg.runs.control import request_stop
from tleg.runs.events import EventReader
from tleg.runs.inputs import RunInputs, read_inputs, threads_of, write_inputs
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.slurm import sbatch_script
from tleg.runs.spec import Launch, read_spec
from tleg.runs.state import RunState, observe, write_state
from tleg.threads import GIVEN


@pytest.fixture
def make(tmp_path: Path, digits_folder: Path) -> Callable[..., RunFolder]:
    def make_run(**changes: Any) -> RunFolder:
        values = {**LEARN, "data": str(digits_folder), "epochs": 2, "evaluate-depths": "2", "accumulate": 1, **changes}
        recipe = to_values(from_values("learn", values))
        return create_run(tmp_path / "runs", kind="learn", recipe=recipe)

    return make_run


def train(folder: RunFolder, **environment: str) -> None:
    given = {**clean_environment(), **environment}
    if "OMP_NUM_THREADS" not in environment:
        given.pop("OMP_NUM_THREADS")
    given.pop(GIVEN, None)
    words = [sys.executable, "-m", "tleg.training", str(folder.path)]
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def begun_with(folder: RunFolder) -> list[int]:
    return [event.payload["threads"] for event in EventReader(folder).read() if event.type == "started"]


@pytest.mark.slow
def test_a_run_goes_on_with_its_threads_to_the_same_bits(make: Callable[..., RunFolder]) -> None:
    whole, stopped = make(threads=2), make(threads=2)
    train(whole)
    assert begun_with(whole) == [2]
    request_stop(stopped)
    train(stopped)
    assert observe(stopped).state == "stopped"
    # Without the recipe's word the note decides, and not what the environment says now.
    spec = stopped.spec_file.read_text().replace('"threads": "2"', '"threads": "auto"')
    stopped.spec_file.write_text(spec)
    train(stopped, OMP_NUM_THREADS="1")
    assert begun_with(stopped) == [2, 2]
    first, second = (load(each.exports / "learngene.safetensors") for each in (whole, stopped))
    assert first.hash() == second.hash()


def test_the_user_has_the_first_word_and_the_cores_the_last(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tleg.threads.available_cores", lambda _environment: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    folder = make(workers=2)
    assert threads_of(folder).count == 4
    assert threads_of(make(workers=2, threads=7)).count == 7
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of(folder).count == 3
    write_inputs(folder, RunInputs(threads=5))
    assert threads_of(folder).count == 3, "without a checkpoint it begins anew"
    (folder.checkpoints / "step-000000001").mkdir()
    assert threads_of(folder).count == 5
    # A run of a version that noted nothing had what the environment said, or one.
    folder.inputs_file.unlink()
    assert threads_of(folder).count == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_of(folder).count == 1
    folder.spec_file.write_text("{")
    assert threads_of(folder).count == 1


def test_another_number_is_asked_for(make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg.launch.launch", lambda _folder: 1)
    monkeypatch.setattr("tleg.threads.available_cores", lambda _environment: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    folder = make()
    (folder.checkpoints / "step-000000001").mkdir()
    write_inputs(folder, RunInputs(threads=5))

    def resumed(**changes: Any) -> int:
        write_state(folder, RunState(state="stopped", step=1, steps=10, epochs=2))
        resume_training(folder, changes)
        return threads_of(folder).count

    assert resumed(workers=3) == 5
    assert resumed(threads="6") == 6
    assert read_spec(folder).amendments[-1]["changes"] == {"threads": "6"}
    assert resumed(threads="auto") == 9
    inputs = read_inputs(folder)
    assert inputs is not None
    assert inputs.threads is None
    folder.inputs_file.unlink()
    assert resumed(threads="auto") == 9


def test_the_dry_run_and_the_recipe_say_how_many(digits_folder: Path, run_cli: Callable[..., Any]) -> None:
    words: tuple[object, ...] = (
        "learn",
        "--architecture",
        "vit_tiny_patch16_224",
        "--data",
        digits_folder,
        "--batch-size",
        40,
    )
    words += tuple(word for name, value in LEARN["model-arg"].items() for word in ("--model-arg", f"{name}={value}"))
    shown = run_cli(*words, "--auxiliary-depth", 2, "--threads", 3, "--devices", 2, "--device", "cpu", "--dry-run")
    assert "threads     3 for each process (asked for)" in shown.stdout
    assert "depths      2\n" in shown.stdout
    drawn = run_cli(*words, "--sample-depths", "1,2", "--epochs", 2, "--device", "cpu", "--dry-run").stdout
    (steps,) = map(int, re.findall(r"^steps       (\d+)", drawn, re.MULTILINE))
    assert f"depths      1–2, one a step, shallow ones more often; the first {steps // 2} steps have 1 alone" in drawn
    recipe = run_cli(*words, "--threads", 3, "--print-recipe")
    assert 'threads = "3"' in recipe.stdout
    assert from_values("learn", {"architecture": "x", "data": "y", "threads": 4}).compute.threads == "4"
    refused = run_cli(*words, "--threads", "lots")
    assert refused.code == 2
    assert "threads must be auto, or a whole number from 1 to 1024, not 'lots'" in refused.stderr


def test_a_batch_job_asks_for_processors_for_its_threads(make: Callable[..., RunFolder]) -> None:
    for changes, cpus in (({"workers": 2}, 3), ({"workers": 2, "threads": 8}, 10)):
        folder = make(**changes)
        spec = replace(read_spec(folder), launch=Launch(slurm={}))
        assert f"#SBATCH --cpus-per-task={cpus}" in sbatch_script(folder, spec).splitlines()


def test_an_evaluation_takes_them_as_well(
    run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    words = ("evaluate", "fashion-mnist", "--data", fill_fashion_mnist(tmp_path, 10, 10), "--depths", "3", "--json")
    try:
        assert run_cli(*words, "--threads", 3).code == 0
        assert torch.get_num_threads() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert run_cli(*words).code == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
