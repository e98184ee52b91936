"""Which descendants the table has: profiles of stages, sizes of inputs, and a budget that picks among them."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.widgets import Input, Static

from tests.models.levels import registered
from tests.models.test_profiles import learngene_of
from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tests.tui.workbench.test_workbench_screen import bench
from tleg.learngene.profile import format_depth
from tleg.learngene.reached import Reached
from tleg.text import format_image_size
from tleg_tui.export.screen import ExportScreen
from tleg_tui.workbench.depth_table import DepthTable
from tleg_tui.workbench.evaluate import EvaluateScreen
from tleg_tui.workbench.rows import Rows, read_headers, read_rows

SIZES = st.lists(st.tuples(st.integers(1, 512), st.integers(1, 512)), unique=True, max_size=4).map(tuple)
DEPTHS = st.sets(st.integers(1, 1024), max_size=4).map(sorted).map(tuple)


@pytest.fixture
def swin(tmp_path: Path) -> Path:
    """A learngene of a tiny Swin of two stages, of which the second is elastic."""
    with registered():
        learngene = learngene_of("swin")
    path = tmp_path / "swin.safetensors"
    learngene.save(path)
    return path


@given(sizes=SIZES, depths=DEPTHS)
def test_what_is_typed_is_what_is_asked_for(sizes: tuple[tuple[int, int], ...], depths: tuple[int, ...]) -> None:
    texts = {"depths": ",".join(map(str, depths)), "pixels": ", ".join(map(format_image_size, sizes))}
    assert read_rows(texts) == (Rows(depths, False, sizes), None)


@pytest.mark.parametrize(
    ("texts", "rows", "problem"),
    [
        ({}, Rows(), None),
        ({"depths": " ALL "}, Rows((), True), None),
        ({"depths": "2-2-6-2,4"}, Rows((4, (2, 2, 6, 2))), None),
        ({"depths": "4-"}, Rows((4,)), None),  # On the way to 4-8.
        ({"pixels": "160,"}, Rows((), False, ((160, 160),)), None),
        ({"pixels": "160x"}, Rows(), "pixels: "),
        ({"depths": "deep", "pixels": "?"}, Rows(), "depths: "),
    ],
)
def test_a_text_that_means_nothing_asks_for_nothing(texts: dict[str, str], rows: Rows, problem: str | None) -> None:
    found, wrong = read_rows(texts)
    assert found == rows
    assert wrong is None if problem is None else wrong is not None and wrong.startswith(problem)


async def type_rows(pilot: Any, **texts: str) -> None:
    for key, text in texts.items():
        pilot.app.screen.query_one(f"#rows-{key}", Input).value = text
    await pilot.pause()


@drive
async def test_all_stages_grow_with_the_depth_and_the_budget_picks_among_profiles(start: Start, swin: Path) -> None:
    async with start(LARGE, opened=swin) as pilot:
        await pilot.pause()
        screen = bench(pilot)
        header = screen._model.own
        await type_rows(pilot, depths="all")
        wanted = {header.scaled(depth) for depth in range(1, 25)}
        assert {row.depth for row in screen._model.rows} == wanted
        blocks = [row.blocks for row in screen._model.rows]
        assert blocks == sorted(blocks)
        profiles = [format_depth(row.profile) for row in screen._model.rows]
        shown = screen_text(pilot)
        assert all(f" {profile} " in shown for profile in profiles[:12])
        # As much as the ninth: that is what the budget picks, whatever is a number and whatever a profile.
        limit = screen._model.rows[8].cost.parameters
        pilot.app.screen.query_one("#parameters", Input).value = str(limit)
        await pilot.pause()
        assert screen.row is screen._model.rows[8]
        assert f"fits: {profiles[0]} … {format_depth(screen._model.rows[8].depth)}" in screen_text(pilot)
        pilot.app.set_focus(screen.query_one(DepthTable))
        await pilot.press("b")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
        assert pilot.app.screen.query_one("#depths", Input).value == format_depth(screen.depth)


@drive
async def test_profiles_that_are_named_have_a_line_a_stage(start: Start, swin: Path) -> None:
    async with start(LARGE, opened=swin) as pilot:
        await pilot.pause()
        screen = bench(pilot)
        stages = len(screen._model.own.architecture.stages)
        profile = "-".join(str(3 + stage) for stage in range(stages))
        await type_rows(pilot, depths=f"{profile},2")
        assert len(screen._model.rows) == 2
        screen.query_one(DepthTable).line = 2
        await eventually(pilot, lambda: f"Depth {profile}" in screen_text(pilot))
        points = [
            line.partition("θB")[2].count("●")
            for line in screen_text(pilot).splitlines()
            if "stage " in line and "θB" in line
        ]
        assert points == [3 + stage for stage in range(stages)]
        # What a profile costs is said by part: together all of it.
        await pilot.press("escape", "p", "up", "p", "c")
        await eventually(pilot, lambda: f"depth {profile}" in screen_text(pilot))


@drive
async def test_a_profile_of_other_stages_is_refused_in_words(start: Start, swin: Path) -> None:
    async with start(LARGE, opened=swin) as pilot:
        await pilot.pause()
        await type_rows(pilot, depths="1-2-3-4-5-6")
        text = " ".join(str(pilot.app.screen.query_one("#verdict", Static).content).split())
        assert "and 1-2-3-4-5-6 names 6" in text
        assert len(bench(pilot)._model.rows) >= 24  # The usual depths are there instead.


@drive
async def test_sizes_are_rows_and_what_was_measured_at_each_is_shown(start: Start, tiny_learngene: Any) -> None:
    known = Reached("some images", 10, {4: 70.0, 8: 80.0})
    smaller = Reached("some images", 10, {4: 75.0}, image_size=(16, 16))
    learngene = tiny_learngene().with_header(reached=known, further=(smaller,))
    learngene.save("mine.safetensors")
    own = learngene.header.image_size
    async with start(LARGE, opened=Path("mine.safetensors")) as pilot:
        await pilot.pause()
        screen = bench(pilot)
        await type_rows(pilot, depths="4,8", pixels=f"{own[0]},16")
        await eventually(pilot, lambda: len(screen._model.rows) == 4)
        at = learngene.at_image_size((16, 16)).header
        row = screen._model.rows[2]
        assert (row.image_size, row.depth, row.top1) == ((16, 16), 4, 75.0)
        assert (row.cost.parameters, row.cost.macs) == (at.cost_at(4).parameters, at.cost_at(4).macs)
        # A budget of MACs that the deeper at the full size exceeds takes the most accurate of the others.
        pilot.app.screen.query_one("#macs", Input).value = str(learngene.header.cost_at(4).macs)
        await pilot.pause()
        # The field is in GMACs where the number is bare.
        pilot.app.screen.query_one("#macs", Input).value = f"{learngene.header.cost_at(4).macs / 1e9:.9f}"
        await eventually(pilot, lambda: "best that fits: depth 4 at 16 pixels, 75.0 %" in screen_text(pilot))
        assert screen.row is not None
        assert (screen.row.image_size, screen.row.depth) == (row.image_size, row.depth)
        pilot.app.set_focus(screen.query_one(DepthTable))
        await pilot.press("b")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, ExportScreen))
        assert pilot.app.screen.query_one("#pixels", Input).value == "16"
        await pilot.press("escape")
        await eventually(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("e")
        await eventually(pilot, lambda: isinstance(pilot.app.screen, EvaluateScreen))
        command = pilot.app.screen.query_one("#command", Static)
        await eventually(pilot, lambda: str(command.content).endswith("--depths 4,8 --image-size 16"))


@drive
async def test_a_size_that_cannot_be_is_said_and_the_others_stay(start: Start, tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    learngene.save("mine.safetensors")
    async with start(SMALL, opened=Path("mine.safetensors")) as pilot:
        await pilot.pause()
        screen = bench(pilot)
        await type_rows(pilot, pixels="17")
        said = screen.query_one("#verdict", Static)
        await eventually(pilot, lambda: "17 pixels" in str(said.content) and "looking at" not in str(said.content))
        assert {row.image_size for row in screen._model.rows} == {learngene.header.image_size}
        await type_rows(pilot, pixels="")
        await eventually(pilot, lambda: "17 pixels" not in str(said.content))


def test_headers_of_other_sizes_are_those_that_tleg_makes(tiny_learngene: Any, run_cli: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene()
    learngene.save(tmp_path / "mine.safetensors")
    result = run_cli("preview", tmp_path / "mine.safetensors", "--image-size", "16,64x32", "--json")
    found = read_headers(learngene.header, json.loads(result.stdout))
    assert found == [learngene.at_image_size(size).header for size in ((16, 16), (64, 32))]
