"""Keys that come faster than screens are made: one write to a terminal ends where the same keys end at a walk."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen

from tests.tui.conftest import Start, drive, eventually, screen_text
from tests.tui.terminal import KEYS, Terminal, click, paste, workbench
from tleg_tui.app import Workbench
from tleg_tui.common import typeahead
from tleg_tui.train.form import RecipeScreen
from tleg_tui.train.pick import PickNameScreen
from tleg_tui.workbench.depth_table import DepthTable

Key = str | bytes
SECONDS_PER_KEY = 0.1
# What a start in a folder of its own puts there, as both terminals of a story need it.
DATA = "shapes"

# Stories that are told whenever tests run; the others with -m slow.
_ALWAYS = ("a form is filled in", "the filter of runs", "a build", "a paste between keys", "clicks between keys", "a theme")
STORIES: dict[str, tuple[Sequence[Key], str]] = {
    # name: (keys, what the screen says in the end)
    "a form is filled in": (["f", *"shapes", "down", "t", "down", "3", "down", *"64"], "1 problem: teacher"),
    "every field of an unfolded form": (
        ["l", "f7", *(key for _ in range(6) for key in ("down", *"-1e9"))],
        "✗",
    ),
    "what a field offers is chosen": (["f", "f3", *"sha", "enter", "down", "down", "7"], "data *             shapes"),
    "a path is walked": (["f", "f3", *"./sh", "enter", "down", "down", *"12"], "epochs             12"),
    "the filter of runs": (["r", "slash", *"fin"], "/ fin"),
    "a run and its recipe": (["r", "enter", "i"], "evaluate-depths"),
    "a run and back": (["r", "enter", "tab", "escape", "slash", *"dig", "enter", "enter", "y"], "log"),
    "the export of a run": (["r", "x", "down", "end", *",3"], "4,3"),
    "the newest run": (["a", "i", "escape", "z", "y"], "log"),
    "a run is deleted and the next is opened": (["r", "D", "y", "enter"], "run earlier"),
    "the budget": (["slash", *"250k", "enter", "p", "up", "up", "p", "c"], "two depths"),
    "two budgets": (["slash", *"300k", "down", "enter", "tab", "tab", "tab", *"9", "escape", "G"], "Depth 24"),
    "a build": (["slash", *"250k", "enter", "b", "enter"], "verified"),
    "a build with other questions": (["b", "down", "home", "1", "down", "right", "up", "enter"], "verified"),
    "the help is narrowed down": (["?", *"budget", "escape", "j", "j"], "Depth 10"),
    "the palette": (["ctrl+p", *"auxiliary", "enter", "k"], "Depth 11"),
    "a theme": (["ctrl+p", *"theme: tleg-light", "enter", "j"], "Depth 9"),
    "a file that is not there": (["o", *"nothing", "enter", "escape", "k"], "Depth 7"),
    "a paste between keys": (["f", paste("shapes"), "down", paste("no teacher"), "down", "5"], "no teacher"),
    "a paste into the workbench": ([paste("/nowhere/gene.safetensors"), "j"], "Depth 9"),
    "clicks between keys": (["p", click(30, 4), "p", "c"], "two depths"),
    "a click in a new screen": (["l", click(40, 5), *"shapes", "down", "x"], "shapes"),
    "ctrl+c among keys": (["j", "ctrl+c", "j", "slash", *"90k"], "90k"),
    "leaving a form in a hurry": (["f", *"abc", "ctrl+q", "n", *"de"], "abcde"),
    "evaluating nothing": (["e", "tab", "end", *"x", "enter"], "x"),
}


@pytest.fixture
def open_terminal(
    tmp_path: Path, child_environment: Callable[..., dict[str, str]], finished_runs: Path
) -> Iterator[Callable[[str], Terminal]]:
    """Open the workbench in a terminal, in a folder of its own that reads like every other."""
    opened: list[Terminal] = []

    def start(name: str) -> Terminal:
        place = tmp_path / name / "here"
        (place / DATA / "train" / "a").mkdir(parents=True)
        (place / DATA / "val" / "a").mkdir(parents=True)
        runs = tmp_path / name / "runs"
        for run in ("earlier", "later"):
            shutil.copytree(next(finished_runs.iterdir()), runs / run)
            file = runs / run / "spec.json"
            text = file.read_text()
            created = text.partition('"created": ')[2].partition(",")[0]
            file.write_text(text.replace(created, str(int(time.time()) - (86400 if run == "earlier" else 7200)), 1))
        environment = child_environment(
            TLEG_SETTINGS=str(tmp_path / name / "settings"), TLEG_RUNS=str(runs), TERM="xterm-256color", LC_ALL="C.UTF-8"
        )
        for each in ("COLUMNS", "LINES", "TMUX", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY"):
            environment.pop(each, None)
        terminal = Terminal(workbench(), environment, place)
        opened.append(terminal)
        terminal.until(lambda text: "every layer is" in text)
        return terminal

    yield start
    for each in opened:
        each.close()


def encode(key: Key) -> bytes:
    return key if isinstance(key, bytes) else KEYS.get(key, b"/" if key == "slash" else key.encode())


def settled(terminal: Terminal) -> str:
    """The screen once nothing has come for a while."""
    while terminal.read(0.6):
        pass
    return terminal.screen.text


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in _ALWAYS else pytest.mark.slow) for name in STORIES])
def test_one_write_ends_where_a_walk_ends(name: str, open_terminal: Callable[[str], Terminal]) -> None:
    keys, said = STORIES[name]
    hasty, calm = open_terminal("hasty"), open_terminal("calmy")  # Of one length: paths are on the screen.
    hasty.write(b"".join(map(encode, keys)))
    for key in keys:
        calm.write(encode(key))
        calm.read(SECONDS_PER_KEY)
    end = time.monotonic() + 60
    while True:
        hasty.read(0.2)
        calm.read(0.2)
        one, two = (each.screen.text.replace("calmy", "hasty") for each in (hasty, calm))
        if one == two and said in one:
            break
        assert time.monotonic() < end, f"in one write:\n{one}\n\nat a walk:\n{two}"
    assert settled(hasty).replace("calmy", "hasty") == settled(calm).replace("calmy", "hasty")


def test_leaving_comes_after_what_was_typed_before_it(open_terminal: Callable[[str], Terminal]) -> None:
    terminal = open_terminal("hasty")
    terminal.write(b"".join(map(encode, ["slash", *"300k", "enter", "q", "D", "y"])))
    assert terminal.wait() == 0
    again = open_terminal("again")
    again.write(b"q")
    assert again.wait() == 0
    assert '"parameters": "300k"' in next(Path(terminal_place(terminal)).glob("settings/*.json")).read_text()


def terminal_place(terminal: Terminal) -> Path:
    """The folder of a terminal's own things."""
    return terminal.folder.parent


# What is slow holds keys back, and not for ever.


def is_at(screen: Screen[Any], depth: int) -> bool:
    return screen.query_one(DepthTable).line == depth


@drive
async def test_a_slow_look_holds_keys_until_it_ends(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg_tui.train import form as recipe

    def slowly(*arguments: Any) -> tuple[Any, ...]:
        time.sleep(1.0)
        return ()

    monkeypatch.setattr(recipe, "offers_of", slowly)
    async with start() as pilot:
        await pilot.press("f")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RecipeScreen))
        await pilot.press("f3", *"abc")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, PickNameScreen))
        await bench(pilot).typeahead.delivered()
        assert "abc" in screen_text(pilot)
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RecipeScreen))
        assert pilot.app.screen._texts["data"] == "abc"  # type: ignore[attr-defined]


@drive
async def test_what_never_ends_does_not_hold_keys_for_ever(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeahead, "LONGEST_WAIT", 0.3)
    async with start() as pilot:
        table = pilot.app.screen.query_one(DepthTable)
        with bench(pilot).keys_wait():
            await asyncio.sleep(0)
            before = asyncio.get_running_loop().time()
            await pilot.press("j")
            await eventually(pilot, lambda: table.line == 9)
            waited = asyncio.get_running_loop().time() - before
            assert waited > 0.25
            await pilot.press("j", "j", "j")  # What was waited for long enough is waited for no more.
            await eventually(pilot, lambda: table.line == 12)
            assert asyncio.get_running_loop().time() - before - waited < 5


@drive
async def test_a_screen_that_never_gets_what_it_waits_for_takes_keys(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typeahead, "LONGEST_WAIT", 0.3)
    async with start() as pilot:
        screen = pilot.app.screen
        monkeypatch.setattr(type(screen), "waits_for", lambda self, key: True)
        for expected in (9, 10, 11):
            await pilot.press("j")
            await eventually(pilot, partial(is_at, screen, expected))


def bench(pilot: Pilot[None]) -> Workbench:
    assert isinstance(pilot.app, Workbench)
    return pilot.app
