"""Runs in other programs' curves: what they are sent, once, and what is said when they are missing."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tleg.runs.events import EventWriter
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, write_state

RunCli = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A finished run with two steps and an evaluation of model and average."""
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    folder = create_run(tmp_path / "runs", kind="learn", recipe={"epochs": 3})
    with EventWriter(folder) as writer:
        writer.write("started", {"step": 0})
        writer.write("step", {"step": 1, "loss": 2.5, "learning_rate": 1e-3, "distillation_loss": None, "depth": 3})
        writer.write("step", {"step": 2, "loss": float("nan"), "learning_rate": 2e-3})
        scores = [{"depth": 3, "top1": 50.0, "top5": None, "loss": 1.5}, {"depth": 8, "top1": 60.0, "top5": 90.0}]
        writer.write("evaluation", {"step": 2, "weights": "ema", "scores": scores})
        writer.write("evaluation", {"step": 2, "weights": "model", "scores": [{"depth": None, "top1": 40.0}]})
    write_state(folder, RunState(state="finished"))
    return folder


EXPECTED = [
    (1, {"loss": 2.5, "learning_rate": 1e-3}),
    (2, {"learning_rate": 2e-3}),
    (
        2,
        {
            "ema/validation/top1/depth 3": 50.0,
            "ema/validation/loss/depth 3": 1.5,
            "ema/validation/top1/depth 8": 60.0,
            "ema/validation/top5/depth 8": 90.0,
        },
    ),
    (2, {"validation/top1": 40.0}),
]


@pytest.mark.parametrize(("name", "more"), [("wandb", {"id"}), ("trackio", set[str]())])
def test_online_trackers(
    run: RunFolder, run_cli: RunCli, name: str, more: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[Any] = []
    begun: list[dict[str, Any]] = []
    module: Any = ModuleType(name)

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            logged.append((step, values))

        def finish(self) -> None:
            logged.append("finished")

    def init(**options: Any) -> Run:
        begun.append(options)
        return Run()

    module.init = init
    monkeypatch.setitem(sys.modules, name, module)
    result = run_cli("track", run.id, "--to", name, "--project", "ours")
    assert result.code == 0, result.stderr
    assert logged == [*EXPECTED, "finished"]
    assert (begun[0]["project"], begun[0]["name"], begun[0]["config"]) == ("ours", run.id, {"epochs": 3})
    assert more <= set(begun[0])
    # A second time sends what is new alone: nothing.
    logged.clear()
    assert "sent 0 reports" in run_cli("track", run.id, "--to", name).stderr
    assert logged == ["finished"]


def test_tensorboard(run: RunFolder, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            written.append(folder)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((step, name, value))

        def close(self) -> None:
            written.append("closed")

    module: Any = ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were missing
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    assert run_cli("track", "last", "--to", "tensorboard").code == 0
    flat = [(step, name, value) for step, values in EXPECTED for name, value in values.items()]
    assert written == [str(run.path / "tensorboard"), *flat, "closed"]


def test_what_is_missing_is_said(run: RunFolder, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    result = run_cli("track", "last", "--to", "wandb")
    assert (result.code, result.stderr) == (2, "tleg: the package 'wandb' is not installed: pip install wandb\n")
    result = run_cli("track", "last", "--to", "wandbb")
    assert result.code == 2
    assert "choose tensorboard, wandb, trackio. Did you mean 'wandb'" in result.stderr


def test_what_another_program_refuses_is_a_sentence(
    run: RunFolder, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: Any) -> None:
        raise ConnectionError("api_key not configured (no-tty).\ncall wandb.login(key=[your_api_key])")

    module: Any = ModuleType("wandb")
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    result = run_cli("track", "last", "--to", "wandb")
    words = "tleg: wandb refused: api_key not configured (no-tty). call wandb.login(key=[your_api_key]); log in to it first"
    assert result.code == 1
    assert result.stderr.startswith(words)
