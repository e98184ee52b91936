"""Make the pictures of the workbench from the real application: `python docs/make_screenshots.py`.

A training is started for them (a small ViT on Fashion-MNIST, a few minutes on a CPU), watched, and stopped at the end.
"""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from tleg.launch import make_training
from tleg.recipes.io import from_values
from tleg.recipes.presets import preset_values
from tleg.runs.control import kill_run
from tleg.runs.follower import RunFollower
from tleg.runs.launch import launch
from tleg.runs.run import RunFolder
from tleg.runs.state import ENDED
from tleg_tui.app import Workbench

ASSETS = Path(__file__).resolve().parent.parent / "assets"
STEPS_TO_WAIT_FOR = 900
Story = Callable[[Pilot[None]], Awaitable[None]]


def start_training(runs_dir: Path) -> RunFolder:
    """Start a run of `tleg learn --preset example`, with an evaluation at every epoch, and wait until there is a curve."""
    values = preset_values("example", "learn")
    folder = make_training(from_values("learn", {**values, "output": None} if "output" in values else values), runs_dir)
    launch(folder)
    follower = RunFollower(folder)
    while (look := follower.look()).state.state not in ENDED and (look.state.step or 0) < STEPS_TO_WAIT_FOR:
        time.sleep(1)
    return folder


async def take(name: str, size: tuple[int, int], runs_dir: Path, story: Story) -> None:
    """Open the workbench, do what the story says, and write the picture."""
    app = Workbench(runs_dir)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(1.0)
        await story(pilot)
        await pilot.pause(0.5)
        picture = app.export_screenshot(title="tleg-tui")
    # Some renderers drop spaces at the start of a text, and with them the alignment of columns.
    (ASSETS / f"{name}.svg").write_text(picture.replace("<text ", '<text xml:space="preserve" '))
    print(ASSETS / f"{name}.svg")


def pressing(*keys: str, wait: float = 1.0) -> Story:
    """A story of keys."""

    async def story(pilot: Pilot[None]) -> None:
        for key in keys:
            await pilot.press(key)
        await pilot.pause(wait)

    return story


async def export(pilot: Pilot[None]) -> None:
    """Build an ONNX file of the chosen depth and wait until it is verified."""
    await pilot.press("b")
    await pilot.pause(0.5)
    await pilot.press("enter")
    for _ in range(240):
        await pilot.pause(0.5)
        lines = pilot.app.screen._compositor.render_strips()
        text = "\n".join(strip.text for strip in lines)
        if "100 %" in text and "gives up" not in text:
            return


async def take_all(runs_dir: Path) -> None:
    """All pictures."""
    await take("workbench", (112, 36), runs_dir, pressing("slash", *"400k", "enter"))
    await take("run", (112, 36), runs_dir, pressing("a", wait=3.0))
    await take("train", (80, 24), runs_dir, pressing("l", "right", wait=2.0))
    await take("export", (80, 24), runs_dir, export)


def main() -> None:
    """Write the pictures to assets/."""
    # A folder whose name anybody might have: the pictures show it.
    work = Path(tempfile.gettempdir()) / "vits"
    work.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TLEG_SETTINGS"] = f"{folder}/settings"
        os.environ["TLEG_RUNS"] = f"{folder}/runs"
        os.chdir(work)
        run = start_training(Path(folder) / "runs")
        try:
            asyncio.run(take_all(Path(folder) / "runs"))
        finally:
            if RunFollower(run).look().state.state not in ENDED:
                kill_run(run)
            os.chdir("/")
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
