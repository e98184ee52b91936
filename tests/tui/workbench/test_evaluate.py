"""Measuring accuracies from the workbench: the same command as on the command line, and its figures in the table."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.widgets import Input, Static

from tests.tui.conftest import SMALL, Start, drive, eventually, screen_text
from tleg.learngene.container import read_file
from tleg.learngene.header import Reached
from tleg.models.learngene import load
from tleg_tui.app import Workbench
from tleg_tui.common.inputs import Tick
from tleg_tui.workbench.depth_table import DepthTable
from tleg_tui.workbench.evaluate import EvaluateScreen
from tleg_tui.workbench.features import FeaturesScreen
from tleg_tui.workbench.screen import WorkbenchScreen


def told(pilot: Any) -> str:
    return str(pilot.app.screen.query_one("#told", Static).content)


@drive
async def test_what_is_wrong_is_said_before_anything_is_measured(start: Start) -> None:
    async with start(SMALL) as pilot:
        await pilot.press("e")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, EvaluateScreen))
        assert not pilot.app.screen.query("#record")  # A shipped file is not written into.
        pilot.app.screen.query_one("#depths", Input).value = "8-4"
        await pilot.press("enter")
        await eventually(pilot, lambda: told(pilot))
        assert "8-4" in told(pilot)
        assert await eventually(pilot, lambda: pilot.app.screen.focused is pilot.app.screen.query_one("#depths"))
        pilot.app.screen.query_one("#depths", Input).value = "4"
        pilot.app.screen.query_one("#data", Input).value = "nowhere/at-all"
        assert await eventually(
            pilot, lambda: "tleg evaluate fashion-mnist --data nowhere/at-all --depths 4" in screen_text(pilot)
        )
        await pilot.press("enter")
        await eventually(pilot, lambda: "nowhere/at-all" in told(pilot))
        assert await eventually(pilot, lambda: pilot.app.screen.focused is pilot.app.screen.query_one("#data"))
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))


@drive
async def test_figures_come_into_the_table_and_on_request_into_the_file(
    start: Start, finished_runs: Path, digits_folder: Path
) -> None:
    (result,) = finished_runs.glob("*/exports/*.safetensors")
    shutil.copy(result, "mine.safetensors")
    before = read_file(Path("mine.safetensors")).header.reached
    assert before is not None
    assert 5 not in before.top1
    async with start(SMALL, opened=Path("mine.safetensors")) as pilot:
        await pilot.press("e")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, EvaluateScreen))
        pilot.app.screen.query_one("#data", Input).value = str(digits_folder)
        pilot.app.screen.query_one("#depths", Input).value = "4,5"
        pilot.app.screen.query_one("#record", Tick).value = True
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))
        kept = read_file(Path("mine.safetensors")).header.reached
        assert kept is not None
        assert set(kept.top1) >= {4, 5}
        assert kept.top1[4] == before.top1[4]
        table = pilot.app.screen.query_one(DepthTable)
        table.line = 5
        await eventually(pilot, lambda: f"zero-shot {kept.top1[5]:.2f} %" in screen_text(pilot))
        app, screen = pilot.app, pilot.app.screen
        assert isinstance(app, Workbench)
        assert isinstance(screen, WorkbenchScreen)
        assert screen.entry is not None
        assert screen.entry.file is not None
        assert screen.entry.file.header.reached == kept  # Read again, because it was written.
        assert app.settings.data[0] == str(digits_folder)


@drive
async def test_features_are_measured_instead_and_shown_by_themselves(
    start: Start, finished_runs: Path, digits_folder: Path, run_cli: Any
) -> None:
    (result,) = finished_runs.glob("*/exports/*.safetensors")
    shutil.copy(result, "mine.safetensors")
    before = read_file(Path("mine.safetensors")).header
    async with start(SMALL, opened=Path("mine.safetensors")) as pilot:
        await pilot.press("e")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, EvaluateScreen))
        screen = pilot.app.screen
        screen.query_one("#data", Input).value = str(digits_folder)
        screen.query_one("#depths", Input).value = "2,4"
        screen.query_one("#record", Tick).value = True
        screen.query_one("#knn", Tick).value = True
        screen.query_one("#retrieval", Tick).value = True
        # A file keeps accuracies alone.
        await eventually(pilot, lambda: not screen.query_one("#record", Tick).display)
        assert "--depths 2,4 --knn --retrieval" in " ".join(str(screen.query_one("#command", Static).content).split())
        assert "--record" not in str(screen.query_one("#command", Static).content)
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, FeaturesScreen))
        document = json.loads(
            run_cli(
                "evaluate", "mine.safetensors", "--data", digits_folder, "--depths", "2,4", "--knn", "--retrieval", "--json"
            ).stdout
        )
        await eventually(pilot, lambda: f"{document['images']:,} validation images" in screen_text(pilot))
        text = screen_text(pilot)
        for row in document["results"]:
            assert f"{row['knn']:>14.2f}{row['retrieval']:>14.2f}" in text
        assert "linear probe" not in text
        assert f"{document['images']:,} validation images" in " ".join(text.replace("│", " ").split())
        await pilot.press("escape")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))
        assert read_file(Path("mine.safetensors")).header == before


@drive
async def test_what_is_kept_is_replaced_when_that_is_ticked_alone(
    start: Start, finished_runs: Path, digits_folder: Path
) -> None:
    (result,) = finished_runs.glob("*/exports/*.safetensors")
    learngene = load(result)
    before = learngene.header.reached
    assert before is not None
    wrong = replace(before, top1={**before.top1, 4: 12.34})
    learngene.with_header(reached=wrong).save("mine.safetensors")
    async with start(SMALL, opened=Path("mine.safetensors")) as pilot:
        await pilot.press("e")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, EvaluateScreen))
        screen = pilot.app.screen
        screen.query_one("#data", Input).value = str(digits_folder)
        screen.query_one("#depths", Input).value = "4"
        assert not screen.query_one("#force", Tick).display  # Nothing is replaced where nothing is kept.
        screen.query_one("#record", Tick).value = True
        await eventually(pilot, lambda: screen.query_one("#force", Tick).display)
        await pilot.press("enter")
        await eventually(pilot, lambda: "12.34 % for depth 4 already" in told(pilot))
        assert "tick the last box to replace what differs" in told(pilot)
        assert read_file(Path("mine.safetensors")).header.reached == wrong
        screen.query_one("#force", Tick).value = True
        await eventually(pilot, lambda: "--force" in screen_text(pilot))
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))
        assert read_file(Path("mine.safetensors")).header.reached == before


@drive
async def test_figures_of_other_images_are_not_mixed_with_those_of_the_file(
    start: Start, finished_runs: Path, digits_folder: Path
) -> None:
    (result,) = finished_runs.glob("*/exports/*.safetensors")
    learngene = load(result)
    known = Reached("another set validation", 9, {3: 99.9, 4: 99.8})
    learngene.with_header(reached=known).save("mine.safetensors")
    async with start(SMALL, opened=Path("mine.safetensors")) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, WorkbenchScreen)
        await pilot.press("e")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, EvaluateScreen))
        pilot.app.screen.query_one("#data", Input).value = str(digits_folder)
        pilot.app.screen.query_one("#depths", Input).value = "4"
        await pilot.press("enter")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, WorkbenchScreen))
        table = screen.query_one(DepthTable)
        table.line = 4
        # The lower one, because it is what was measured; and no figure where none was measured.
        await eventually(pilot, lambda: "99.8" not in screen_text(pilot) and "zero-shot" in screen_text(pilot))
        table.line = 3
        await eventually(pilot, lambda: "zero-shot not measured" in screen_text(pilot))
        assert read_file(Path("mine.safetensors")).header.reached == known
