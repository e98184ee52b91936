"""Anything pressed, clicked and resized at any time, and left at any time: no error, and no key that hangs.

Textual hands an error of any handler to the test.
"""

import asyncio
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from textual.errors import NoWidget

from tests.tui.conftest import Start

# All but those that would begin a training, and typing.
KEYS = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab", "enter", "escape", "space"),
    *(
        "backspace",
        "delete",
        "ctrl+p",
        "ctrl+c",
        "ctrl+u",
        "f1",
        "f2",
        "f3",
        "f4",
        "f6",
        "f7",
        "f9",
        "question_mark",
        "slash",
    ),
    *"abcdefghijklmnopqrsuvwxyzDGKLMR0123",
)
SIZES = ((80, 24), (160, 50), (40, 10), (120, 40), (60, 16), (200, 60), (20, 5))


async def play(start: Start, seed: int, length: int) -> None:
    chance = random.Random(seed)
    async with start(size=chance.choice(SIZES), refresh=0.1) as pilot:
        app = pilot.app
        for _ in range(chance.randrange(length)):
            what = chance.random()
            if what < 0.86:
                app.simulate_key(chance.choice(KEYS))
            elif what < 0.92:
                await pilot.resize_terminal(*chance.choice(SIZES))
            elif what < 0.97:
                with suppress(NoWidget):  # Between two screens.
                    await pilot.click(offset=(chance.randrange(app.size.width), chance.randrange(app.size.height)))
            if chance.random() < 0.5:
                await pilot.pause(chance.choice((0, 0.01, 0.05)))
            if app._exit:
                break
        app.exit()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many(start: Start, runs_dir: Path, finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = random.randrange(10**9)
    with capsys.disabled():
        print(f"\nrandom keys: seeds {first} and the 150 after it")
    for seed in range(first, first + 150):
        shutil.rmtree(runs_dir, ignore_errors=True)
        shutil.copytree(finished_runs, runs_dir)
        shutil.rmtree(tmp_path / "settings", ignore_errors=True)
        try:
            asyncio.run(asyncio.wait_for(play(start, seed, 100), 120))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
