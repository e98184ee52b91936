"""A command that is refused has changed nothing: every file of a folder is the same before and after."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tleg.recipes.io import from_values, to_values
from tleg.runs.control import request_stop
from tleg.runs.launch import create_run
from tleg.runs.lock import RunLock
from tleg.runs.run import RunFolder
from tleg.runs.spec import Launch, read_spec, write_spec
from tleg.runs.state import RunState, write_state

VALUES = {"architecture": "vit_tiny_patch16_224", "data": "digits", "epochs": 3, "device": "cpu"}


def contents(folder: Path) -> Mapping[str, bytes | None]:
    """What a folder holds, byte by byte; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learngene_file: Path) -> Path:
    """A working folder with a learngene, a checkpoint that is none, outputs that exist, and a folder for runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "runs").mkdir()
    (tmp_path / "gene.safetensors").write_bytes(learngene_file.read_bytes())
    (tmp_path / "there.safetensors").write_text("precious")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("precious")
    (tmp_path / "bad.pth").write_text("no checkpoint")
    return tmp_path


def make_run(place: Path, state: RunState | None = None, launch: Launch | None = None, **more: Any) -> RunFolder:
    recipe = to_values(from_values("learn", VALUES))
    folder = create_run(place / "runs", kind="learn", recipe=recipe, launch=launch or Launch(), **more)
    assert write_state(folder, state or RunState(state="stopped", step=5, steps=30, epochs=3, host=os.uname().nodename))
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ("--devices", 3),
        ("--devices", 3, "--force"),
        ("--accumulate", 5, "--force"),
        ("--workers", -1, "--force"),
        ("--epochs", 0, "--force"),
        ("--epochs", 2, "--workers", 4, "--devices", 3),
        ("--max-restarts", 2, "--slurm"),
        ("--workers", 3, "--slurm"),
        ("--workers", 3, "--slurm", "--time", "soon"),
        ("--partition", "gpu"),
        ("--workers", 3, "--slurm", "--sbatch", "two\nlines"),
    ],
)
def test_resume(place: Path, run_cli: Callable[..., Any], options: tuple[object, ...]) -> None:
    folder = make_run(place, output="out.safetensors")
    request_stop(folder)
    before = contents(place)
    done = run_cli("resume", folder.id, *options)
    assert done.code in (1, 2), done
    assert done.stderr.startswith("tleg: ")
    assert contents(place) == before


def test_resume_of_a_run_that_cannot_be_started(place: Path, run_cli: Callable[..., Any]) -> None:
    at_work = make_run(place, RunState(state="running", host=os.uname().nodename))
    lost = make_run(place)
    write_spec(lost, replace(read_spec(lost), folder=str(place / "gone")))
    other = make_run(place, output="there.safetensors")
    waits = make_run(place, RunState(state="queued"), Launch(slurm={}, job_id="12"))
    before = contents(place)
    for folder, words in (
        (lost, ("--workers", 3)),
        (other, ("--workers", 3)),
        (waits, ("--workers", 3)),
        (waits, ("--no-slurm", "--workers", 3, "--force")),
    ):
        done = run_cli("resume", folder.id, *words, "--detach")
        assert done.code in (1, 2), done
        assert contents(place) == before, folder.id
    with RunLock(at_work):
        before = contents(place)
        assert run_cli("resume", at_work.id, "--workers", 3, "--force").code == 2
        assert contents(place) == before


def test_resume_as_a_job_that_slurm_does_not_take(
    place: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = place / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no partition x' >&2; exit 1\n")
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin")
    folder = make_run(place)
    request_stop(folder)
    before = contents(place)
    done = run_cli("resume", folder.id, "--slurm", "--partition", "x", "--workers", 3, "--force")
    assert done.code == 1
    assert "sbatch refused: sbatch: error: no partition x" in done.stderr
    assert contents(place) == before
    # A run that was to be made for the job is not left behind either.
    words = ("--architecture", VALUES["architecture"], "--data", "digits", "--device", "cpu", "--slurm")
    assert run_cli("learn", *words).code == 1
    assert run_cli("learn", *words, "--partition", "a b").code == 2
    assert contents(place) == before


@pytest.mark.parametrize(
    "words",
    [
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--output", "there.safetensors"),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--output", "foreign"),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--batch-size", 7, "--devices", 2),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--slurm", "--max-restarts", 1),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--print"),
        ("learn", "--data", "digits"),
        ("learn", "--preset", "example", "--threads", "many"),
        ("finetune", "--model", "vit_tiny_patch16_224", "--data", "digits", "--output", "foreign", "--force"),
        ("finetune", "--model", "vit_tiny_patch16_224", "--data", "digits", "--depth", 3),
        ("finetune", "--learngene", "gene.safetensors", "--data", "digits"),
        ("import", "bad.pth", "--output", "new.safetensors"),
        ("import", "bad.pth", "--output", "there.safetensors", "--force"),
        ("import", "missing.pth", "--output", "deep/er/new.safetensors"),
        ("build", "gene.safetensors", "--depth", 0, "--output", "exports"),
        ("build", "gene.safetensors", "--depth", 4, "--depth", 4096, "--output", "exports"),
        ("build", "gene.safetensors", "--depth", 4, "--export", "tflite", "--output", "exports"),
        ("build", "bad.pth", "--depth", 4, "--output", "exports"),
        ("build", "gene.safetensors", "--depth", 4, "--output", "there.safetensors"),
        ("evaluate", "gene.safetensors", "--data", "nowhere", "--record"),
        ("evaluate", "gene.safetensors", "--data", "fashion-mnist", "--record", "--limit", 5),
        ("evaluate", "there.safetensors", "--data", "fashion-mnist", "--record"),
        ("evaluate", "gene.safetensors", "--data", "fashion-mnist", "--threads", "0"),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--teacher", "no/such/folder"),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--slurm", "--time", "soon"),
        ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "digits", "--batch-size", 0, "--print-recipe"),
        ("train", "--model", "resnet18", "--checkpoint", "there.safetensors", "--data", "digits"),
        ("train", "--checkpoint", "no/such/folder", "--data", "digits", "--output", "new"),
        ("train", "--model", "resnet18", "--data", "digits", "--output", "there.safetensors/new"),
        ("import", "bad.pth", "--output", "foreign", "--force"),
        ("build", "gene.safetensors", "--depth", 4, "--export", "onnx", "--dtype", "int8", "--output", "exports"),
        ("build", "gene.safetensors", "--depth", 4, "--layout", "upside-down", "--output", "exports"),
        ("build", "gene.safetensors", "--output", "exports"),
        ("build", "foreign", "--export", "onnx-compact", "--output", "exports"),
        ("evaluate", "gene.safetensors", "--data", "fashion-mnist", "--record", "--depths", "0"),
        ("evaluate", "fashion-mnist", "--data", "fashion-mnist", "--record"),
        ("verify", "there.safetensors"),
        ("stop", "none"),
        ("logs", "none"),
        ("rm", "none", "--yes"),
        ("track", "none", "--to", "tensorboard"),
    ],
)
def test_commands(place: Path, run_cli: Callable[..., Any], words: tuple[object, ...]) -> None:
    before = contents(place)
    done = run_cli(*words)
    assert done.code in (1, 2), done
    assert contents(place) == before


def test_exports_of_which_one_exists(place: Path, run_cli: Callable[..., Any]) -> None:
    assert run_cli("build", "gene.safetensors", "--depth", 2, "--export", "onnx", "--no-verify").code == 0
    before = contents(place)
    done = run_cli("build", "gene.safetensors", "--depth", 3, "--depth", 2, "--export", "onnx", "--no-verify")
    assert done.code == 2
    assert "exists already" in done.stderr
    assert contents(place) == before


def test_rm_of_runs_of_which_one_is_at_work(place: Path, run_cli: Callable[..., Any]) -> None:
    stopped, at_work = make_run(place), make_run(place, RunState(state="running", host=os.uname().nodename))
    with RunLock(at_work):
        before = contents(place)
        done = run_cli("rm", stopped.id, at_work.id, "--yes")
        assert done.code == 2
        assert f"run {at_work.id} is running; stop it first" in done.stderr
        assert contents(place) == before
    assert run_cli("rm", stopped.id, "--yes", stopped.id).code == 0
    assert not stopped.path.exists()


def test_track_with_a_program_that_is_unknown_or_missing(
    place: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(place)
    before = contents(place)
    monkeypatch.setitem(__import__("sys").modules, "trackio", None)
    for name in ("aim", "trackio", "../x"):
        assert run_cli("track", folder.id, "--to", name).code == 2
    assert contents(place) == before


def test_what_a_resume_changes_it_changes_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg.launch import resume_training

    folder = make_run(place)
    monkeypatch.setattr("tleg.launch.launch", lambda _folder: 1)
    resume_training(folder, {"workers": 3}, overwrite=True)
    spec = json.loads(folder.spec_file.read_text())
    assert spec["overwrite"] is True
    assert spec["recipe"]["workers"] == 3
    assert spec["amendments"] == [{"step": 5, "changes": {"workers": 3}}]
