"""A run that goes on: its output, its request to stop, its machines, and the signals that its trainer listens to."""

import faulthandler
import json
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import ExitCode, InputError
from tleg.launch import resume_training
from tleg.recipes.io import from_values, to_values
from tleg.runs.control import request_stop, stop_requested
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder, is_published, note_published
from tleg.runs.spec import Launch, read_spec
from tleg.runs.state import RunState, read_state, write_state
from tleg.training import __main__ as trainer
from tleg.training import worker as trainers
from tleg.training.process import StopSignals
from tleg.training.worker import publish

RunCli = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunFolder]:
    """A run in some state that starts nothing when it is resumed: make("finished", output="gene")."""
    monkeypatch.setattr("tleg.launch.launch", lambda folder: None)
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)

    def make_run(state: Any, output: str | None = None, **launch: Any) -> RunFolder:
        values = {"architecture": "vit_tiny_patch16_224", "data": "digits", "epochs": 3, "device": "cpu", **launch}
        recipe = from_values("learn", values)
        folder = create_run(
            tmp_path / "runs", kind="learn", recipe=to_values(recipe), output=output, launch=Launch(**launch)
        )
        assert write_state(folder, RunState(state=state, step=5, steps=30, epochs=3, message="asked", exit_code=1))
        return folder

    return make_run


# --- the output


def test_a_longer_run_replaces_what_it_put_there_itself(make: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder, output = make("finished", "gene.safetensors"), tmp_path / "gene.safetensors"
    result = folder.exports / "learngene.safetensors"
    result.write_text("after 3 epochs")
    publish(folder, result, output, overwrite=False)
    assert resume_training(folder, {"epochs": 5}) is None
    result.write_text("after 5 epochs")
    publish(folder, result, output, overwrite=read_spec(folder).overwrite)
    assert output.read_text() == "after 5 epochs"


def test_what_somebody_else_put_there_is_refused_before_the_work(
    make: Callable[..., RunFolder], tmp_path: Path, run_cli: RunCli
) -> None:
    folder, output = make("stopped", "gene.safetensors"), tmp_path / "gene.safetensors"
    output.write_text("somebody else's")
    with pytest.raises(InputError, match=r"gene\.safetensors exists already; --force replaces it"):
        resume_training(folder)
    assert read_state(folder).state == "stopped"
    refused = run_cli("resume", folder.id, "--detach")
    assert refused.code == 2
    assert "exists already" in refused.stderr
    assert run_cli("resume", folder.id, "--detach", "--force").code == 0
    assert read_spec(folder).overwrite


def test_a_note_that_is_damaged_knows_nothing(make: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder, output = make("finished"), tmp_path / "gene"
    output.write_text("x")
    assert not is_published(folder, output)
    for text in ("{", "7", "[7]", "[]"):
        (folder.path / "published.json").write_text(text)
        assert not is_published(folder, output)
    note_published(folder, {"": "a"})
    note_published(folder, {"": "a"})
    assert json.loads((folder.path / "published.json").read_text()) == [{"": "a"}]


# --- the request to stop


@pytest.mark.parametrize(
    ("state", "environment", "kept"),
    [
        ("stopped", {}, False),
        ("failed", {}, False),
        ("running", {}, False),
        ("stopping", {}, False),
        ("queued", {}, True),
        ("starting", {}, True),
        ("running", {"TORCHELASTIC_RESTART_COUNT": "1"}, True),
        ("stopping", {"SLURM_RESTART_COUNT": "1"}, True),
    ],
)
def test_a_trainer_takes_back_a_request_that_was_answered(
    make: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, state: str, environment: dict[str, str], kept: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen: list[bool] = []

    def look(folder: RunFolder, *_: Any) -> ExitCode:
        seen.append(stop_requested(folder))
        return ExitCode.DONE

    monkeypatch.setattr(trainers, "_train", look)
    folder = make(state)
    request_stop(folder)
    assert trainers.run_trainer(folder.path, StopSignals()) == ExitCode.DONE
    assert seen == [kept]


# --- several machines


def test_a_run_on_several_machines_prints_its_line(make: Callable[..., RunFolder], run_cli: RunCli) -> None:
    folder = make("stopped", devices=2, nodes=4)
    request_stop(folder)
    resumed = run_cli("resume", folder.id)
    assert (resumed.code, resumed.stdout.strip()) == (0, folder.id)
    assert "on each machine, run: torchrun --nnodes=4 --nproc-per-node=2" in resumed.stderr
    assert not stop_requested(folder)
    state = read_state(folder)
    assert (state.state, state.step, state.message, state.exit_code) == ("queued", 5, None, None)


def test_a_dry_run_finds_the_runs_that_a_training_would(
    make: Callable[..., RunFolder], run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("finished")
    monkeypatch.delenv("TLEG_RUNS")
    seen: list[Any] = []
    monkeypatch.setattr("tleg.cli.launch.show_dry_run", lambda recipe, *_, **__: seen.append(recipe.checkpoint))
    words = ("finetune", "--checkpoint", folder.id, "--data", "digits", "--dry-run", "--runs-dir", str(tmp_path / "runs"))
    assert run_cli(*words).code == 0
    assert seen == [str(folder.path)]


# --- signals


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the handlers of signals back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_signals_are_heard_before_torch_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    # Importing it takes seconds, in which SIGUSR1 would end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    seen: list[Any] = []

    class Imported(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if not name.startswith("__"):
                seen.append(signal.getsignal(signal.SIGUSR1))
            return lambda *_: 0

    monkeypatch.setitem(sys.modules, "tleg.training.worker", Imported("tleg.training.worker"))
    monkeypatch.setattr("tleg.training.process.tolerate_full_disks", lambda: None)
    for name in ("enable", "register"):
        monkeypatch.setattr(faulthandler, name, lambda *_: None)
    monkeypatch.setattr("sys.argv", ["trainer", "somewhere"])
    with pytest.raises(SystemExit) as left:
        trainer.main()
    assert left.value.code == 0
    assert seen
    assert signal.SIG_DFL not in seen
