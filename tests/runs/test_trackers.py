"""Runs in other programs' curves: what they are sent, once, and what is said when they are missing."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from tleg.doctor import OPTIONAL
from tleg.errors import InputError, TlegError
from tleg.runs.events import Event, EventWriter
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, write_state
from tleg.runs.trackers import TRACKERS, open_tracker, tracked
from tleg.text import join_words

ROOT = Path(__file__).resolve().parents[2]
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


class StandIn:
    """What a tracker's package does, as far as tleg uses it; remembers what it was sent by step."""

    def __init__(self, *_: Any) -> None:
        self.sent: dict[int, dict[str, float]] = {}
        self.closed = False

    def log(self, values: dict[str, float], step: int) -> None:
        self.sent.setdefault(step, {}).update(values)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.log({name: value}, step)

    def close(self) -> None:
        self.closed = True

    finish = close

    def module(self, name: str) -> ModuleType:
        module: Any = ModuleType(name)
        module.SummaryWriter = module.init = lambda *_, **__: self
        return cast(ModuleType, module)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Every package that a tracker may want is the same one."""
    one = StandIn()
    for name in ("torch.utils.tensorboard", *(each.package for each in TRACKERS.values())):
        monkeypatch.setitem(sys.modules, name, one.module(name))
    return one


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_reaches_everybody_who_names_it(
    run: RunFolder, run_cli: RunCli, stand_in: StandIn, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = TRACKERS[name]
    assert kind.name == name
    # The command: its help, what it refuses, and what it sends.
    monkeypatch.setenv("COLUMNS", "200")
    help_text = run_cli("track", "--help").stdout
    assert f"{join_words(list(TRACKERS), 'or')}." in help_text
    (projects,) = (line for line in help_text.splitlines() if "--project" in line)
    assert (name in projects) == kind.projects
    assert name in run_cli("track", "last", "--to", "nothing").stderr
    assert run_cli("track", "last", "--to", name).code == 0
    sent: dict[int, dict[str, float]] = {}
    for step, values in EXPECTED:
        sent.setdefault(step, {}).update(values)
    assert (stand_in.sent, stand_in.closed) == (sent, True)
    assert run.tracked_file(name).is_file()
    # By itself.
    tracker = open_tracker(name, run, "ours")
    assert type(tracker) is kind
    tracker.scalars(7, {"loss": 1.0})
    assert stand_in.sent[7] == {"loss": 1.0}
    # What lists optional packages, and the page that names the programs.
    assert kind.package in OPTIONAL
    assert f"| {name} | {kind.title} | `pip install {kind.package}` |" in (ROOT / "docs" / "runs.md").read_text("utf-8")
    assert kind.title in (ROOT / "docs" / "cli.md").read_text("utf-8")


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_says_what_it_needs_and_what_it_was_refused(
    run: RunFolder, stand_in: StandIn, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = TRACKERS[name].package

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such server")

    monkeypatch.setattr(StandIn, "log", refuse)
    tracker = open_tracker(name, run)
    with pytest.raises(TlegError, match=f"{package} refused: no such server; .*, then track again"):
        tracker.scalars(1, {"loss": 1.0})
    for module in ("torch.utils.tensorboard", "tensorboardX", package):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"the package '{package}' is not installed: pip install {package}"):
        open_tracker(name, run)


def test_what_another_program_wrote_into_the_events_breaks_no_tracker() -> None:
    payloads: list[tuple[str, Any]] = [
        ("step", {"step": True, "loss": 1.0}),
        ("step", {"step": 3, "loss": "high", "scale": float("inf")}),
        ("evaluation", {"step": 3, "scores": [None, {"top1": 5, "depth": "deep"}]}),
        ("evaluation", {"step": 4, "scores": 7}),
        ("novelty", {"step": 5}),
    ]
    events = [Event(1, number, 1.0, kind, payload) for number, (kind, payload) in enumerate(payloads)]
    assert list(tracked(events)) == [(3, {}), (3, {"validation/top1": 5.0}), (4, {})]
