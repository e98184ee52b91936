"""How screens and dialogs are left: once, by themselves alone, also below a terminal that is too small; by the same keys."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Input

from tests.tui.conftest import SMALL, Start, drive, eventually, screen_text
from tleg.runs.events import EventWriter
from tleg.runs.launch import create_run
from tleg.runs.lock import RunLock
from tleg.runs.state import RunState, write_state
from tleg_tui.app import Workbench
from tleg_tui.common.dialogs import ConfirmScreen, TooSmallScreen
from tleg_tui.common.help import HelpScreen
from tleg_tui.common.run_actions import attach_command
from tleg_tui.runs.screen import RunsScreen
from tleg_tui.workbench.screen import WorkbenchScreen


def shows(screen: WorkbenchScreen, name: str) -> bool:
    return screen.entry is not None and screen.entry.name == name


@drive
async def test_leaving_twice_is_leaving_once(start: Start) -> None:
    async with start(SMALL) as pilot:
        app = pilot.app
        answers: list[bool | None] = []
        await pilot.press("r")
        await eventually(pilot, lambda: isinstance(app.screen, RunsScreen))
        dialog = ConfirmScreen("Really?", "yes")
        app.push_screen(dialog, answers.append)
        await pilot.pause()
        dialog.dismiss(True)
        dialog.dismiss(False)
        await pilot.pause()
        assert answers == [True]
        assert isinstance(app.screen, RunsScreen)


@drive
async def test_leaving_below_another_screen_waits_for_that(start: Start) -> None:
    async with start(SMALL) as pilot:
        app = pilot.app
        answers: list[bool | None] = []
        dialog = ConfirmScreen("Really?", "yes")
        app.push_screen(dialog, answers.append)
        await pilot.resize_terminal(40, 10)
        await eventually(pilot, lambda: isinstance(app.screen, TooSmallScreen))
        dialog.dismiss(True)  # As the end of a child process does.
        await pilot.pause()
        assert isinstance(app.screen, TooSmallScreen)
        await pilot.resize_terminal(*SMALL)
        await eventually(pilot, lambda: isinstance(app.screen, WorkbenchScreen))
        assert answers == [True]


@drive
async def test_a_terminal_that_grows_below_a_dialog_is_large_enough_after_it(start: Start) -> None:
    async with start(SMALL) as pilot:
        app = pilot.app
        await pilot.resize_terminal(40, 10)
        await eventually(pilot, lambda: isinstance(app.screen, TooSmallScreen))
        app.push_screen(ConfirmScreen("Really?", "yes"))  # Something that took a while ended with a question.
        await pilot.resize_terminal(*SMALL)
        await pilot.press("n")
        await eventually(pilot, lambda: isinstance(app.screen, WorkbenchScreen))


@pytest.mark.parametrize("key", ["b", "e", "o"])
def test_what_works_everywhere_works_in_dialogs(start: Start, key: str) -> None:
    @drive
    async def flow() -> None:
        async with start(SMALL) as pilot:
            app = pilot.app
            await pilot.press(key)
            await eventually(
                pilot, lambda: type(app.screen).__name__ in ("ExportScreen", "EvaluateScreen", "OpenFileScreen")
            )
            await pilot.pause()
            dialog = app.screen
            assert ("F1 help" in screen_text(pilot)) == (key == "b")  # The one with a bar of keys.
            await pilot.press("f1")
            await eventually(pilot, lambda: isinstance(app.screen, HelpScreen))
            shown = screen_text(pilot)
            assert "Everywhere" in shown
            assert " F1  " in shown
            assert "? F1" not in shown  # A question mark can be typed here.
            await pilot.press("escape")
            await eventually(pilot, lambda: app.screen is dialog)
            await pilot.press("f9")
            await eventually(pilot, lambda: app.screen is not dialog)
            await pilot.press("escape")
            await eventually(pilot, lambda: app.screen is dialog)
            await pilot.press("ctrl+q")
            await eventually(pilot, lambda: app._exit)
        assert app.return_code == 0

    flow()


@drive
async def test_the_last_words_name_a_command_that_works(start: Start, runs_dir: Path, tmp_path: Path) -> None:
    elsewhere = create_run(tmp_path / "my runs", kind="learn", recipe={"epochs": 4}, command=("tleg", "learn"))
    usual = create_run(runs_dir, kind="learn", recipe={"epochs": 4}, command=("tleg", "learn"))
    locks = [RunLock(folder) for folder in (elsewhere, usual)]
    for folder, lock in zip((elsewhere, usual), locks, strict=True):
        assert lock.acquire(timeout=1.0)
        EventWriter(folder).close()
        write_state(folder, RunState("running", heartbeat=1.0))
    async with start(SMALL) as pilot:
        app = pilot.app
        assert isinstance(app, Workbench)
        app.open_run(elsewhere)
        await pilot.press("escape")
        app.open_run(usual)
        app.look_at_runs()
        await eventually(pilot, lambda: len(app.runs.at_work) == 2)
        await pilot.press("q")
        await pilot.pause()
    for lock in locks:
        lock.release()
    assert app.last_words == (f"training goes on: tleg attach '{elsewhere.path}'\ntraining goes on: tleg attach {usual.id}")
    assert attach_command(usual) == f"tleg attach {usual.id}"


@drive
async def test_the_list_of_learngenes_is_reached_and_moved_in_by_keys(start: Start) -> None:
    from tests.conftest import make_learngene
    from tleg_tui.workbench.left_panels import LearngeneList

    make_learngene().save("a.safetensors")
    make_learngene(seed=3).save("b.safetensors")
    async with start(SMALL) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, WorkbenchScreen)
        await pilot.press("question_mark")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        await pilot.press(*"panel")
        await eventually(pilot, lambda: "tab" in screen_text(pilot))
        await pilot.press("escape")
        await pilot.pause()
        for _ in range(8):
            if isinstance(pilot.app.focused, LearngeneList):
                break
            await pilot.press("tab")
        assert isinstance(pilot.app.focused, LearngeneList)
        await pilot.press("j")  # The other one that ships.
        for key, name in (("j", "a"), ("G", "b"), ("k", "a")):
            await pilot.press(key)
            await eventually(pilot, partial(shows, screen, f"{name}.safetensors"))
        await pilot.press("g")
        await eventually(pilot, lambda: screen.entry is not None and screen.entry.name == "fashion-mnist")


LONG = "a" * 300


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", f"/{LONG}", f"{LONG}/b"])
def test_a_path_that_cannot_be_is_a_sentence(start: Start, text: str) -> None:
    @drive
    async def flow() -> None:
        async with start(SMALL) as pilot:
            app = pilot.app
            await pilot.press("o")
            await eventually(pilot, lambda: type(app.screen).__name__ == "OpenFileScreen")
            app.screen.query_one(Input).value = text
            await pilot.press("enter")
            await eventually(pilot, lambda: "there is no file" in screen_text(pilot))
            await pilot.press("escape")
            await eventually(pilot, lambda: isinstance(app.screen, WorkbenchScreen))

            await pilot.press("l")
            await eventually(pilot, lambda: type(app.screen).__name__ == "TrainScreen")
            for name in ("data", "teacher", "output"):
                from tleg_tui.common.form_fields import FormField

                field = next(each for each in app.screen.query(FormField) if each.spec.name == name)
                field.query_one(Input).value = text
            await pilot.pause(0.3)
            assert app.return_code is None

    flow()


def test_the_working_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg_tui.common.learngenes import open_entry

    gone = tmp_path / "gone"
    gone.mkdir()
    file = tmp_path / "-dash.safetensors"
    shutil.copy(__file__, file)
    monkeypatch.chdir(tmp_path)
    assert open_entry(file).argument == "./-dash.safetensors"  # No option of a command.
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert open_entry(file).argument == str(file)
