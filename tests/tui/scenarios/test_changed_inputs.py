"""R on a run whose data changed: it says what, and asks where that can be accepted. On both screens of runs."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import SMALL, Start, drive, eventually, screen_text
from tests.tui.runs.test_runs_screen import look, open_runs, runs_screen, toasts
from tests.tui.runs.test_runs_watching import Copy
from tests.tui.runs.test_runs_watching import copy_run as copy_run
from tleg.runs.inputs import ChangedInputsError
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, write_state
from tleg_tui.common.dialogs import ConfirmScreen

TOLD = "3 training images more (in 'cat')"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What was asked of the engine; it goes on only with what is accepted."""
    calls: list[tuple[str, bool]] = []

    def resume(folder: RunFolder, *, accept_changed: bool = False) -> None:
        calls.append((folder.id, accept_changed))
        if folder.id.endswith("classes"):
            raise ChangedInputsError("x", told="the class 'fox' is new", acceptable=False)
        if not accept_changed:
            raise ChangedInputsError("x", told=TOLD, acceptable=True)

    monkeypatch.setattr("tleg_tui.runs.screen.resume", resume)
    monkeypatch.setattr("tleg_tui.run.control.resume", resume)
    return calls


def stopped(copy_run: Copy, name: str) -> RunFolder:
    folder = copy_run(name)
    assert write_state(folder, RunState(state="stopped", step=5, steps=10, epochs=2))
    return folder


def answered(asked: list[tuple[str, bool]], calls: list[bool]) -> bool:
    return [accepted for _, accepted in asked] == calls


@drive
async def test_on_the_screen_of_a_run(start: Start, copy_run: Copy, asked: list[tuple[str, bool]]) -> None:
    folder = stopped(copy_run, "images")
    async with start(size=SMALL, run=folder, refresh=0.1) as pilot:
        await eventually(pilot, lambda: "stopped" in screen_text(pilot))
        for key, calls in (("n", [False]), ("y", [False, False, True])):
            await pilot.press("R")
            await eventually(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
            words = " ".join(screen_text(pilot).replace("│", " ").replace("▌", " ").split())
            assert "3 training images more" in words
            assert "--accept" not in words
            await pilot.press(key)
            await eventually(pilot, partial(answered, asked, calls))
            await eventually(pilot, lambda: not isinstance(pilot.app.screen, ConfirmScreen))
        await eventually(pilot, lambda: "it goes on with what changed" in toasts(pilot))


@drive
async def test_on_the_screen_of_all_runs(start: Start, copy_run: Copy, asked: list[tuple[str, bool]]) -> None:
    folder = stopped(copy_run, "images")
    async with start(size=SMALL) as pilot:
        await open_runs(pilot, 1)
        await look(pilot, lambda: runs_screen(pilot).chosen is not None)
        await pilot.press("R")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("y")
        await eventually(pilot, lambda: asked == [(folder.id, False), (folder.id, True)])
        await eventually(pilot, lambda: "goes on with what changed" in toasts(pilot))


@drive
async def test_what_nobody_can_accept_is_said(
    start: Start, copy_run: Copy, asked: list[tuple[str, bool]], tmp_path: Path
) -> None:
    folder = stopped(copy_run, "classes")
    words = "what the run is trained on changed since it began: the class 'fox' is new; put it back as it was"
    async with start(size=SMALL, run=folder, refresh=0.1) as pilot:
        await eventually(pilot, lambda: "stopped" in screen_text(pilot))
        await pilot.press("R")
        await eventually(pilot, lambda: words in toasts(pilot))
        assert not isinstance(pilot.app.screen, ConfirmScreen)
    shown: Any
    async with start(size=SMALL) as pilot:
        await open_runs(pilot, 1)
        await look(pilot, lambda: runs_screen(pilot).chosen is not None)
        await pilot.press("R")
        await eventually(pilot, lambda: words in toasts(pilot))
        shown = pilot.app.screen
        assert not isinstance(shown, ConfirmScreen)
