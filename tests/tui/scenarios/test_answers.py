"""Every key answers: what is not possible now says why, and bars offer nothing that is not possible."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tests.tui.run.test_run_screen import Trainer
from tests.tui.run.test_run_screen import trainer as trainer  # The fixture.
from tleg_tui.app import Workbench
from tleg_tui.common.bars import KeyBar, TitleBar
from tleg_tui.export.screen import ExportScreen
from tleg_tui.run.screen import RunScreen
from tleg_tui.runs.screen import RunsScreen
from tleg_tui.train.form import RecipeScreen


def told(pilot: Pilot[None]) -> list[str]:
    return [each.message for each in pilot.app._notifications]


async def answer(pilot: Pilot[None], *keys: str) -> str:
    """What is told after some keys."""
    pilot.app.clear_notifications()
    await pilot.press(*keys)
    assert isinstance(pilot.app, Workbench)
    await pilot.app.typeahead.delivered()
    await eventually(pilot, lambda: told(pilot))
    return told(pilot)[-1]


def bar(pilot: Pilot[None]) -> str:
    return str(pilot.app.screen.query_one(KeyBar).render())


@drive
async def test_keys_of_the_workbench_say_what_is_missing(start: Start) -> None:
    async with start(SMALL) as pilot:
        assert await answer(pilot, "c") == "c compares two depths: p pins the chosen one, none of two is pinned"
        assert await answer(pilot, "p", "c") == "c compares two depths: p pins the chosen one, one of two is pinned"
        await eventually(pilot, lambda: pilot.app.runs.read)  # type: ignore[attr-defined]
        assert await answer(pilot, "a") == "there is no run yet: f and l start one"
        assert (await answer(pilot, "delete")).endswith(": fashion-mnist comes with tleg")
        assert "/ sets one" in await answer(pilot, "d")
        # Once is enough.
        await pilot.press("d", "d", "d")
        await pilot.pause()
        assert len(told(pilot)) == 1
        # What is typed into a line is no key of the screen's.
        pilot.app.clear_notifications()
        await pilot.press("slash", "c", "a", "d", "escape")
        await pilot.pause()
        assert not told(pilot)


@drive
async def test_a_learngene_that_cannot_be_used_says_so_at_every_key(start: Start) -> None:
    Path("broken.safetensors").write_bytes(b"no learngene")
    async with start(SMALL, opened=Path("broken.safetensors").absolute()) as pilot:
        pilot.app.remember_recent("learngenes", str(Path("broken.safetensors").absolute()))  # type: ignore[attr-defined]
        pilot.app.screen._list()  # type: ignore[attr-defined]
        await pilot.press("tab", "G")
        await eventually(pilot, lambda: "This cannot be used" in screen_text(pilot))
        for key in "bfep":
            assert await answer(pilot, key) == "broken.safetensors cannot be used: tab, then ↑ ↓ choose another"


def test_keys_of_a_run_say_where_it_stands(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(LARGE, run=trainer.folder, refresh=0.05) as pilot:
            assert isinstance(pilot.app.screen, RunScreen)
            await eventually(pilot, lambda: pilot.app.screen.look is not None)  # type: ignore[attr-defined]
            assert await answer(pilot, "R") == "the run is running: s stops it"
            assert await answer(pilot, "x") == "there is nothing to export yet: the run has no checkpoint"
            assert await answer(pilot, "y") == "there is no curve yet: the run has made no step"
            assert await answer(pilot, "L") == "the log is empty: the trainer has printed nothing"
            assert await answer(pilot, "c") == "there is no other run to compare with"
            assert await answer(pilot, "end") == "log and events follow their ends already"
            trainer.tell("finished", state="finished", reason="")
            trainer.state("finished", epochs=4)
            trainer.end()
            await eventually(pilot, lambda: "✓ finished" in screen_text(pilot))
            assert await answer(pilot, "s") == "the run is finished: there is nothing to stop"
            assert await answer(pilot, "R") == "the run is finished: n begins another with its recipe"
            assert await answer(pilot, "K") == "the run is finished: there is nothing to kill"

    asyncio.run(check())


@drive
async def test_a_new_training_begins_on_the_screen_of_a_run(start: Start, finished_runs: Path) -> None:
    async with start(SMALL, runs_dir=finished_runs) as pilot:
        await pilot.press("a")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        await pilot.press("n")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RecipeScreen))
        screen: Any = pilot.app.screen
        assert screen._texts["epochs"] == "2"
        assert screen._texts["architecture"] == "vit_tiny_patch16_224"


def test_keys_of_the_table_of_runs(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(LARGE, runs_dir=trainer.folder.path.parent) as pilot:
            await pilot.press("r")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, RunsScreen) and "running" in screen_text(pilot))
            assert "D delete" not in bar(pilot)
            assert await answer(pilot, "D") == f"{trainer.folder.id} is running: stop it first (s), then delete it"
            assert await answer(pilot, "R") == "the run is running: s stops it"
            assert await answer(pilot, "c") == "there is no other run to compare with"
            assert "nothing to export yet" in await answer(pilot, "x")

    asyncio.run(check())


@drive
async def test_a_field_without_a_list_says_which_have_one(start: Start) -> None:
    async with start(LARGE) as pilot:
        await pilot.press("f")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RecipeScreen))
        await pilot.press("down", "down")
        found = await answer(pilot, "f3")
        assert found.startswith("F3 chooses for ")
        assert "data" in found
        assert await answer(pilot, "f2") == "there is no run of this kind yet to take a recipe from"


@drive
async def test_escape_says_what_it_does(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg_tui.export import screen as export

    async def slowly(*arguments: Any) -> None:
        await asyncio.sleep(600)

    monkeypatch.setattr(export, "run_tleg", slowly)
    async with start(SMALL) as pilot:
        await pilot.press("b")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
        assert "esc close" in bar(pilot)
        await pilot.press("enter")
        await eventually(pilot, lambda: "esc gives up" in screen_text(pilot))
        assert "esc give up" in bar(pilot)
        assert "close" not in bar(pilot)
        assert await answer(pilot, "enter") == "it is being built: esc gives up"
        await pilot.press("escape")
        await eventually(pilot, lambda: "given up" in screen_text(pilot))
        assert "esc close" in bar(pilot)


def test_the_title_goes_on_below_a_dialog(start: Start, trainer: Trainer) -> None:
    async def check() -> None:
        async with start(SMALL, runs_dir=trainer.folder.path.parent) as pilot:
            trainer.steps(1, 4)
            trainer.state("running", step=40, steps=400, epochs=4)
            await eventually(pilot, lambda: " 10 %" in screen_text(pilot).splitlines()[0])
            await pilot.press("e")
            await pilot.pause()
            trainer.state("running", step=300, steps=400, epochs=4)
            await eventually(pilot, lambda: " 75 %" in screen_text(pilot).splitlines()[0])
            assert len(pilot.app.screen_stack) == 2
            assert pilot.app.screen_stack[0].query_one(TitleBar).runs.at_work

    asyncio.run(check())


@drive
async def test_a_long_paste_is_short_in_messages(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("l", "f7")
        await eventually(pilot, lambda: pilot.app.screen.query("#field-validation-split"))
        screen: Any = pilot.app.screen
        field = screen.query_one("#field-validation-split")
        field.control.focus()
        field.control.value = "9" * 3000 + "x"
        await eventually(pilot, lambda: field.query(".problem"))
        await eventually(pilot, lambda: "…" in str(field.query_one(".problem").content))
        assert len(str(field.query_one(".problem").content)) < 200
        assert field.size.height <= 6


@drive
async def test_what_is_cut_ends_in_a_sign(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("l", "right")
        await eventually(pilot, lambda: "ready" in screen_text(pilot))
        await eventually(pilot, lambda: " … F6" in screen_text(pilot))  # The command line is longer than its room.
        await pilot.press(*["escape"], "y")
        await pilot.resize_terminal(120, 34)
        await pilot.press("f")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, RecipeScreen))
        await pilot.resize_terminal(60, 30)
        await eventually(pilot, lambda: "batch / 512" not in screen_text(pilot) or "…" in screen_text(pilot))
        lines = [line for line in screen_text(pilot).splitlines() if "lr " in line and "learn anew" in line]
        assert lines
        assert all(line.rstrip().endswith(("…", "512")) for line in lines)
