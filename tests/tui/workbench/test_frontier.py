"""The frontier in the workbench: where there is room, over any cost, with the chosen depth, the budget and devices."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.latency.test_device import ABOUT, RUNTIME, point
from tests.tui.conftest import LARGE, SMALL, Start, drive, screen_text
from tleg.latency.measuring import profile_of
from tleg.learngene.container import read_file
from tleg.references import shipped
from tleg.serialize import to_json
from tleg.tuned import Place, Tuned
from tleg_tui.common.learngenes import open_entry
from tleg_tui.workbench.depth_table import DepthTable
from tleg_tui.workbench.frontier import FrontierPanel
from tleg_tui.workbench.model import WorkbenchModel

TALL = (120, 34)


def write_profile(path: Path, **changes: Any) -> Path:
    """What a device takes for the shipped learngene: 1 ms, and another for each layer."""
    header = read_file(shipped()["fashion-mnist"]).header
    about = {**ABOUT, "learngene": header.sha256, **changes}
    points = [point(depth, 0.001 * (1 + depth)) for depth in (2, 7, 12)]
    path.write_text(to_json(profile_of(points, about, RUNTIME, 1, 1)), encoding="utf-8")
    return path


def panel(pilot: Any) -> FrontierPanel:
    """The one that is seen."""
    shown: list[FrontierPanel] = [each for each in pilot.app.screen.query(FrontierPanel) if each.display]
    assert len(shown) == 1
    return shown[0]


def drawn(pilot: Any) -> list[str]:
    """Its lines, as they are on the screen."""
    region = panel(pilot).region
    lines = screen_text(pilot).splitlines()
    return [line[region.x : region.right].rstrip() for line in lines[region.y : region.bottom]]


@drive
async def test_it_follows_the_chosen_depth_and_a_key_turns_its_axis(start: Start) -> None:
    async with start(TALL) as pilot:
        await pilot.pause()
        title = "  Frontier ─ top-1 over "
        assert drawn(pilot)[0].startswith(f"{title}parameters")
        assert drawn(pilot)[0].endswith("v turns")
        assert drawn(pilot)[-1] == "    ● trained depth   ○ other depth   ◆ chosen"
        column = next(line.index("◆") for line in drawn(pilot)[:-1] if "◆" in line)
        assert drawn(pilot)[-3][column] == "▴"
        await pilot.press("down", "down")
        further = next(line.index("◆") for line in drawn(pilot)[:-1] if "◆" in line)
        assert further > column
        for label in ("MACs of an image", "size of the float32 weights", "memory of inference, batch 1"):
            await pilot.press("v")
            assert drawn(pilot)[0].startswith(f"{title}{label}"[:46])
        # What the file says had to make room, and is the last turn.
        assert "architecture vit_tiny" not in screen_text(pilot)
        await pilot.press("v")
        assert "architecture vit_tiny" in screen_text(pilot)
        assert "Frontier" not in screen_text(pilot)
        await pilot.press("v")
        assert drawn(pilot)[0].startswith(f"{title}parameters")


def test_what_fine_tuning_reached_stands_beside_by_data_set() -> None:
    model = WorkbenchModel()
    model.entry = open_entry(shipped()["fashion-mnist"])
    model.tuned = {"emoji": {Place((28, 28), 8): Tuned(61.5, 3, "a-run")}}
    model.look_at_depths()
    found = model.frontier("params", model.rows[7])
    assert found is not None
    assert [(point.name, point.top1) for point in found.points if point.data == "emoji"] == [("8", 61.5)]
    assert {point.name for point in found.points if point.chosen} == {"8"}


@drive
async def test_wide_terminals_have_it_under_the_table_beside_what_the_file_says(start: Start) -> None:
    async with start(LARGE) as pilot:
        await pilot.pause()
        text = screen_text(pilot)
        assert "architecture vit_tiny" in text
        assert panel(pilot).id == "frontier-below"
        assert len([line for line in drawn(pilot) if "│" in line or "┤" in line]) >= 14
        assert pilot.app.screen.query_one(DepthTable).size.height == 24
        await pilot.resize_terminal(*TALL)
        await pilot.pause()
        assert panel(pilot).id == "frontier-beside"
        await pilot.resize_terminal(*SMALL)
        await pilot.pause()
        assert not [each for each in pilot.app.screen.query(FrontierPanel) if each.display]
        screen: Any = pilot.app.screen
        assert not screen.check_action("axis", ())
        assert "drawn in terminals of 120 x 34 and more" in screen.why_not("axis")


@drive
async def test_a_budget_is_a_line_on_its_own_axis(start: Start) -> None:
    async with start(TALL) as pilot:
        await pilot.press("slash", *"350k", "enter")
        await pilot.pause()
        assert sum("┆" in line for line in drawn(pilot)) >= 8
        await pilot.press("v")
        assert not any("┆" in line for line in drawn(pilot)[1:-1])


@drive
async def test_a_device_gives_latencies_a_limit_and_an_axis(start: Start, tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "board.json")
    async with start(TALL) as pilot:
        screen: Any = pilot.app.screen
        assert "Latency" not in screen_text(pilot)
        screen.query_one("#latency").value = "6ms"
        await pilot.pause()
        assert str(screen.query_one("#problem").content).startswith("latency: name the profile of a device below")
        screen.query_one("#device").value = str(profile)
        await pilot.pause()
        text = screen_text(pilot)
        assert str(screen.query_one("#problem").content) == ""
        assert "fits: 1–5, deepest 5" in text
        assert screen.depth == 5
        assert any("Latency" in line and "Top-1" in line for line in text.splitlines())
        assert "6.000 ms" in next(line for line in text.splitlines() if "▸" in line)
        await pilot.press("v", "v", "v", "v")
        assert drawn(pilot)[0].startswith("  Frontier ─ top-1 over latency, batch 1")
        assert sum("┆" in line for line in drawn(pilot)) >= 8
    async with start(SMALL) as pilot:  # It is remembered, and the table has room for it.
        lines = screen_text(pilot).splitlines()
        assert any("Latency" in line for line in lines)
        assert "6.000 ms" in next(line for line in lines if "▸" in line)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot read the device profile"),
        ("{", "is no device profile: it is not JSON"),
        ("[]", "is no device profile, as tleg benchmark --save-profile writes them"),
        (json.dumps({"format": "tleg.device-profile"}), "lacks the field 'device'"),
    ],
)
@drive
async def test_a_bad_profile_is_one_sentence(start: Start, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.json"
    if content:
        path.write_text(content, encoding="utf-8")
    async with start(TALL) as pilot:
        screen: Any = pilot.app.screen
        screen.query_one("#device").value = str(path)
        await pilot.pause()
        told = str(screen.query_one("#problem").content)
        assert (told.startswith("device: "), said in told) == (True, True), told
        assert "Latency" not in screen_text(pilot)


@drive
async def test_a_profile_of_something_else_is_said_and_leaves_the_table(start: Start, tmp_path: Path) -> None:
    other = write_profile(tmp_path / "other.json", learngene="ab" * 32)
    async with start(LARGE) as pilot:
        screen: Any = pilot.app.screen
        screen.query_one("#device").value = str(other)
        screen.query_one("#latency").value = "6"
        await pilot.pause()
        text = screen_text(pilot)
        assert "the device profile is of another learngene" in text
        assert "Latency" not in text
        assert "over" not in next(line for line in text.splitlines() if "▸" in line)
        screen.query_one("#device").value = str(write_profile(tmp_path / "own.json"))
        screen.query_one("#batch").value = "8"
        await pilot.pause()
        assert "the device was measured with a batch of 1, and the preview is for 8" in screen_text(pilot)
