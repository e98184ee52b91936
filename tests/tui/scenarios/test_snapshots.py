"""How screens look: SVG pictures kept beside the tests, at the smallest usual size and at a large one.

After a change that is meant, `TLEG_UPDATE_GOLDEN=1 pytest tests/tui/scenarios/test_snapshots.py -n 0` makes them anew. Look
at them before committing: they open in any browser.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg.recipes.io import from_values, to_values
from tleg.recipes.presets import preset_values
from tleg.runs.events import Event, EventWriter
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec, write_spec
from tleg.runs.state import RunState, write_state
from tleg_tui.export.results import ExportList

FOLDER = Path(__file__).resolve().parents[1] / "golden"
UPDATE = "TLEG_UPDATE_GOLDEN"
BEGAN = 1_763_962_415.0  # 24 November 2025, 05:33:35 UTC
STEPS, EPOCHS = 1404, 3


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks show UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def stopped_run(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose every figure is written down: two thirds done, evaluated twice, stopped."""
    recipe = from_values("learn", preset_values("example", "learn"))
    with monkeypatch.context() as patch:
        patch.setattr("tleg.runs.launch.time.strftime", lambda *_: "251124-053335")
        folder = create_run(runs_dir, kind="learn", recipe=to_values(recipe), name="vit_tiny", command=("tleg", "learn"))
    write_spec(folder, replace(read_spec(folder), created=BEGAN - 5, host="workstation", folder="/data"))
    clock = [BEGAN]
    monkeypatch.setattr(time, "time", lambda: clock[0])  # Ages as well: it stays what it is when all is written.
    with EventWriter(folder) as events:
        begin = {"step": 0, "steps": STEPS, "epochs": EPOCHS, "device": "cuda", "precision": "bfloat16"}
        events.write("started", {**begin, "reason": "the GPU computes with it", "host": "workstation", "world_size": 1})
        for step in range(1, 937):
            clock[0] = BEGAN + step / 8
            numbers = {
                "loss": 0.9 + 1.5 / (1 + step / 90) + 0.08 * ((step * 7) % 11 - 5) / 5,
                "gradient_norm": 1.5 + step % 7 / 4,
            }
            speed = {"images_per_second": 1200.0 + step % 50, "learning_rate": 1.5e-3 * min(step / 280, 1 - step / 2000)}
            place = {"step": step, "steps": STEPS, "epoch": (step - 1) // 468 + 1, "epochs": EPOCHS, "depth": 3 + step % 6}
            events.write("step", {**place, **numbers, **speed, "data_wait": 0.02})
            if step % 468 == 0:
                scores = [{"depth": depth, "top1": 68.0 + step / 100 + depth, "images": 10_000} for depth in (3, 8)]
                events.write("evaluation", {"step": step, "epoch": step // 468, "weights": "model", "scores": scores})
                events.write(
                    "checkpoint", {"step": step, "name": f"step-{step:09}", "seconds": 0.1, "bytes": 1_300_000, "best": True}
                )
        gpu = {"index": 0, "name": "NVIDIA H100", "utilisation": 87, "memory_used": 21_000_000_000}
        gpu |= {"memory_total": 80_000_000_000, "temperature": 61, "power": 412}
        host = {"memory_used": 18_000_000_000, "memory_total": 128_000_000_000, "load": 3.2}
        events.write("device", {"devices": [gpu], "host": host})
        events.write("warning", {"code": "data", "text": "a fifth of the time goes to waiting for images", "step": 930})
        events.write(
            "finished", {"state": "stopped", "reason": "stopped after step 936 of 1404", "exit_code": 0, "step": 936}
        )
    folder.log_file.write_text("warning: a fifth of the time goes to waiting for images\n")
    state = RunState("stopped", step=936, steps=STEPS, epoch=2, epochs=EPOCHS, heartbeat=BEGAN + 120, host="workstation")
    assert write_state(folder, replace(state, message="stopped after step 936 of 1404"))
    return folder


def compare(name: str, pilot: Pilot[None]) -> None:
    """Assert that the screen looks as in tests/tui/golden/NAME.svg."""
    width, height = pilot.app.size
    path = FOLDER / f"{name}-{width}x{height}.svg"
    picture = pilot.app.export_screenshot(title=name)
    if os.environ.get(UPDATE):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    assert picture == expected, f"{path.name} differs; {UPDATE}=1 makes it anew:\n{screen_text(pilot)}"


Story = Callable[[Pilot[None]], Awaitable[Any]]


async def nothing(pilot: Pilot[None]) -> None:
    await eventually(pilot, lambda: "zero-shot" in screen_text(pilot))


async def budget(pilot: Pilot[None]) -> None:
    await nothing(pilot)
    await pilot.press("p", "down", "down", "p", "slash", *"350k", "enter")
    await eventually(pilot, lambda: "deepest 6" in screen_text(pilot))


async def export(pilot: Pilot[None]) -> None:
    await nothing(pilot)
    await pilot.press("b")
    await eventually(
        pilot, lambda: [line.stage for each in pilot.app.screen.query(ExportList) for line in each.lines] == ["new"]
    )


async def train(pilot: Pilot[None]) -> None:
    await nothing(pilot)
    await pilot.press("l")
    await eventually(pilot, lambda: "preset" in screen_text(pilot))
    await pilot.press("right")
    await eventually(pilot, lambda: "ready" in screen_text(pilot))


async def runs(pilot: Pilot[None]) -> None:
    await nothing(pilot)
    await pilot.press("r")
    await eventually(pilot, lambda: "stopped after step 936" in screen_text(pilot))


async def run(pilot: Pilot[None]) -> None:
    await nothing(pilot)
    await eventually(pilot, lambda: pilot.app.runs.rows)  # type: ignore[attr-defined]
    await pilot.press("a")
    await eventually(pilot, lambda: "412 W" in screen_text(pilot) and "waiting for images" in screen_text(pilot))


async def family(pilot: Pilot[None]) -> None:
    await nothing(pilot)
    await pilot.press("F")
    await eventually(pilot, lambda: "89.53 %" in screen_text(pilot))


STORIES: dict[str, Story] = {
    "workbench": budget,
    "export": export,
    "train": train,
    "runs": runs,
    "run": run,
    "family": family,
}


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", STORIES)
def test_looks(name: str, size: tuple[int, int], start: Start, stopped_run: RunFolder) -> None:
    @drive
    async def look() -> None:
        async with start(size) as pilot:
            await STORIES[name](pilot)
            await pilot.pause(0.3)
            compare(name, pilot)

    look()


@drive
async def test_a_first_start_looks_inviting(start: Start) -> None:
    async with start(SMALL) as pilot:
        await nothing(pilot)
        compare("first-start", pilot)


def test_events_of_the_pictures_are_sound(stopped_run: RunFolder) -> None:
    from tleg.runs.events import EventReader

    events: list[Event] = EventReader(stopped_run).read()
    assert len(events) == 936 + 2 * 2 + 4
    assert {event.t for event in events if event.type == "started"} == {BEGAN}
