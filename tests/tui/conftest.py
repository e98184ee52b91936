"""The workbench, driven without a terminal, on learngenes and runs that the engine really made."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.forks import ForkServer, forking
from tests.training.conftest import digits_folder as digits_folder  # A data set that trains in seconds.
from tleg.launch import make_training
from tleg.recipes.io import from_values
from tleg.runs.control import kill_run
from tleg.runs.launch import launch
from tleg.runs.listing import list_runs
from tleg.runs.run import RunFolder
from tleg.runs.state import ENDED, observe
from tleg_tui.app import Workbench

SMALL = (80, 24)
LARGE = (160, 50)

LEARN: Mapping[str, Any] = {
    "architecture": "vit_tiny_patch16_224",
    "model-arg": {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2, "in_chans": 1},
    "auxiliary-depth": 4,
    "evaluate-depths": "2-4",
    "epochs": 2,
    "batch-size": 40,
    "workers": 0,
    "lr": 2e-3,
    "initial-matrices": "timm",  # In so few steps these learn something.
    "depth-warmup": 0.0,
    "device": "cpu",
}

Start = Callable[..., AbstractAsyncContextManager[Pilot[None]]]
Eventually = Callable[..., Any]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, runs and the working folder of a test are its own."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("SSH_CONNECTION", "SSH_TTY", "NO_COLOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TLEG_SETTINGS", str(tmp_path / "settings"))
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def own_processes(forks: None) -> None:
    """What the workbench starts need not import torch and timm."""


@pytest.fixture
def runs_dir(tmp_path: Path) -> Iterator[Path]:
    """The folder of the runs. What still trains there at the end is killed."""
    folder = tmp_path / "runs"
    yield folder
    for each in list_runs(folder):
        if observe(each).state not in ENDED and observe(each).state != "queued":
            kill_run(each)


@pytest.fixture
def start(runs_dir: Path) -> Start:
    """Open the workbench: `async with start(size=SMALL) as pilot`. Keyword arguments are those of Workbench."""

    @asynccontextmanager
    async def open_workbench(size: tuple[int, int] = SMALL, **options: Any) -> AsyncIterator[Pilot[None]]:
        app = Workbench(options.pop("runs_dir", runs_dir), **options)
        async with app.run_test(size=size) as pilot:
            # What stands around the table comes after the first paint.
            bench = app.screen_stack[0]
            await eventually(pilot, lambda: any(str(each.content) for each in bench.query("#figures").results(Static)))
            await pilot.pause()
            yield pilot

    return open_workbench


def drive(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine a test: `@drive async def test_…(start)`."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(test(*arguments, **fixtures))

    return run


async def eventually(pilot: Pilot[None], condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until a condition holds, and return it; an AssertionError after some seconds."""
    end = asyncio.get_running_loop().time() + seconds
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < end, "it did not happen"
        await pilot.pause(0.05)
    return value


def screen_text(pilot: Pilot[None]) -> str:
    """What the terminal shows, line by line."""
    lines = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in lines)


@pytest.fixture
def start_run(runs_dir: Path, digits_folder: Path) -> Callable[..., RunFolder]:
    """Start a real training as a run, a process of its own: start_run(epochs=50), or start_run("finetune", …)."""

    def start_training(kind: str = "learn", *, output: Path | None = None, begin: bool = True, **changes: Any) -> RunFolder:
        base = dict(LEARN) if kind == "learn" else {key: LEARN[key] for key in ("epochs", "batch-size", "workers", "device")}
        given = {key.replace("_", "-"): value for key, value in changes.items()}
        recipe = from_values(kind, {**base, "data": str(digits_folder), **given})
        folder = make_training(recipe, runs_dir, output=None if output is None else str(output))
        if begin:
            launch(folder)
        return folder

    return start_training


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path, fork_server: ForkServer | None) -> Path:
    """A folder with one finished run of `tleg learn` on the digits. Copy what a test changes."""
    place = tmp_path_factory.mktemp("finished")
    folder = make_training(from_values("learn", {**LEARN, "data": str(digits_folder)}), place)
    with forking(fork_server):
        launch(folder)
    _wait(folder)
    assert observe(folder).state == "finished", folder.log_file.read_text()
    return place


def _wait(folder: RunFolder) -> None:
    import time

    end = time.monotonic() + 120
    while observe(folder).state not in ENDED:
        assert time.monotonic() < end, "the run did not end"
        time.sleep(0.1)
