"""A run that is not finished is exported as well: what its last checkpoint holds."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.conftest import SMALL, Start, eventually, screen_text
from tleg.runs.follower import RunFollower
from tleg.runs.run import RunFolder
from tleg.runs.slurm import stop
from tleg.runs.state import observe
from tleg_tui.common.run_actions import unfinished_depth
from tleg_tui.export.screen import ExportScreen
from tleg_tui.run.screen import RunScreen


@pytest.fixture
def stopped(start_run: Callable[..., RunFolder]) -> RunFolder:
    """A run of `tleg learn` that was stopped after its first steps."""
    import time

    folder = start_run(epochs=4000)
    follower = RunFollower(folder)
    end = time.monotonic() + 240
    while not follower.look().snapshot.evaluations:
        assert time.monotonic() < end
        time.sleep(0.1)
    stop(folder)
    while not observe(folder).ended:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert observe(folder).state == "stopped"
    return folder


def test_a_stopped_run_is_exported(
    start: Start, stopped: RunFolder, child_environment: Callable[..., dict[str, str]]
) -> None:
    async def check() -> None:
        async with start(SMALL, run=stopped) as pilot:
            await eventually(pilot, lambda: isinstance(pilot.app.screen, RunScreen) and "x exports" in screen_text(pilot))
            await pilot.press("x")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
            assert unfinished_depth(pilot.app.screen_stack[1]._seen.spec) == 4  # type: ignore[attr-defined]
            await eventually(
                pilot, lambda: f"{stopped.id}-depth4" in screen_text(pilot) or "depth4.onnx" in screen_text(pilot)
            )
            await pilot.press("enter")
            await eventually(pilot, lambda: "verified" in screen_text(pilot), 240)
        made = list(Path("exports").glob("*.onnx"))
        assert [path.name for path in made] == [f"{stopped.id}-depth4.onnx"]
        # From the table of runs as well.
        async with start(SMALL) as pilot:
            await pilot.press("r")
            await eventually(pilot, lambda: "stopped" in screen_text(pilot))
            await pilot.press("x")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
            await eventually(pilot, lambda: "exists already" in screen_text(pilot))

    asyncio.run(check())
    # By its id and by its folder, as the workbench does it.
    words = ["build", stopped.id, "--depth", "3", "--export", "onnx-compact", "--output", "more", "--json"]
    environment = child_environment(TLEG_RUNS=str(stopped.path.parent))
    done = subprocess.run(
        [sys.executable, "-m", "tleg.cli", *words], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    (export,) = json.loads(done.stdout)["exports"]
    assert Path(export["path"]).name == f"{stopped.id}-depth3.compact.onnx"
    assert export["verification"]["argmax_agreement"] == 1.0
    shutil.rmtree(stopped.checkpoints)
    done = subprocess.run(
        [sys.executable, "-m", "tleg.cli", *words], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 2
    assert "no checkpoint that can be used" in done.stderr
