"""A run on several machines goes on when a person types its line on each: the workbench shows it."""

import asyncio
from pathlib import Path

import pytest

from tests.tui.conftest import Start, eventually, screen_text
from tleg.runs.launch import create_run
from tleg.runs.spec import Launch
from tleg.runs.state import RunState, observe, write_state
from tleg_tui.common.dialogs import NodeLineScreen


@pytest.mark.parametrize("place", ["run", "runs"])
def test_resuming_shows_the_line(start: Start, runs_dir: Path, place: str) -> None:
    folder = create_run(runs_dir, kind="learn", recipe={"epochs": 4}, launch=Launch(2, 3))
    assert write_state(folder, RunState(state="stopped", step=5, steps=40, epochs=4))

    async def check() -> None:
        async with start(**({"run": folder} if place == "run" else {}), refresh=0.05) as pilot:
            if place == "runs":
                await pilot.press("r")
            await eventually(pilot, lambda: "stopped" in screen_text(pilot))
            await eventually(pilot, lambda: "resume" in screen_text(pilot).splitlines()[-1])
            await pilot.press("R")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, NodeLineScreen))
            assert "torchrun --nnodes=3 --nproc-per-node=2" in screen_text(pilot)
        assert observe(folder).state == "queued"

    asyncio.run(check())
