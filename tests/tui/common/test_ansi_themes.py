"""The themes of the terminal's own colours, which have no shades: what is painted, as escape codes."""

from pathlib import Path

import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.pilot import Pilot
from textual.strip import Strip

from tests.tui.conftest import SMALL, Start, drive, eventually, screen_text
from tleg_tui.common.form_fields import Choice
from tleg_tui.train.fields import GroupTitle

THEMES = ("ansi-dark", "ansi-light")
COLOURS = {str(code) for code in (*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108))}


def painted(pilot: Pilot[None], text: str) -> list[Segment]:
    """What is painted with letters on the line that has a text."""
    lines = pilot.app.screen._compositor.render_strips()
    line = next(line for line in lines if text in line.text)
    return [segment for segment in line if segment.text.strip(" │─▁▂▃▄▅▆▇█")]


def codes(segment: Segment) -> set[str]:
    """The numbers that the terminal is sent before a text."""
    assert segment.style is not None
    return set(Strip.render_ansi(segment.style, ColorSystem.TRUECOLOR).split(";"))


@pytest.mark.parametrize("theme", THEMES)
def test_the_cursor_is_reversed_and_what_is_over_the_budget_is_dim(theme: str, start: Start) -> None:
    @drive
    async def look() -> None:
        async with start(SMALL, theme=theme) as pilot:
            await pilot.press("slash", *"350k", "enter")
            await eventually(pilot, lambda: "deepest 6" in screen_text(pilot))
            chosen = [each for each in painted(pilot, "▸  6") if each.style and each.style.reverse]
            assert "304.91 k" in "".join(each.text for each in chosen)
            for segment in chosen:
                assert {"1", "7"} <= codes(segment), segment
                assert not COLOURS & codes(segment), segment
            over = [each for each in painted(pilot, "over") if "354.89" in each.text or "over" in each.text]
            assert over
            assert all("2" in codes(each) for each in over)
            fits = [each for each in painted(pilot, "254.92 k") if "254.92" in each.text]
            assert all("2" not in codes(each) for each in fits)
            await pilot.press("down")  # To one that is over the budget: it is read as well as any other there.
            chosen = [each for each in painted(pilot, "▸  7") if each.style and each.style.reverse]
            assert "354.89 k" in "".join(each.text for each in chosen)
            assert all("2" not in codes(each) for each in chosen)

    look()


@pytest.mark.parametrize("theme", THEMES)
def test_the_greeting_is_no_solid_bar(theme: str, start: Start) -> None:
    @drive
    async def look() -> None:
        async with start(SMALL, theme=theme) as pilot:
            said = [each for each in painted(pilot, "New here?") if "New here?" in each.text]
            assert said
            assert not COLOURS & codes(said[0])

    look()


@pytest.mark.parametrize("theme", THEMES)
def test_choices_and_groups_with_the_focus_are_reversed(theme: str, start: Start) -> None:
    @drive
    async def look() -> None:
        async with start(SMALL, theme=theme) as pilot:
            await pilot.press("l")
            await eventually(pilot, lambda: isinstance(pilot.app.focused, Choice))
            await pilot.pause()
            await pilot.press("right")
            await eventually(pilot, lambda: "◂ example ▸" in screen_text(pilot))
            words = [each for each in painted(pilot, "◂ example ▸") if "example" in each.text or "◂" in each.text]
            assert words
            assert all("7" in codes(each) and not COLOURS & codes(each) for each in words)
            for _ in range(20):
                await pilot.press("down")
                if isinstance(pilot.app.focused, GroupTitle):
                    break
            await pilot.pause()
            title = [each for each in painted(pilot, "▸ Data") if "Data" in each.text or "▸" in each.text]
            assert title
            assert all("7" in codes(each) and not COLOURS & codes(each) for each in title)
            # What has no focus any more has its colours again.
            await pilot.press("up")
            await eventually(pilot, lambda: not isinstance(pilot.app.focused, GroupTitle))
            await pilot.press("up")
            await eventually(pilot, lambda: isinstance(pilot.app.focused, Choice))
            await pilot.press("down")
            await pilot.pause()
            assert all("7" not in codes(each) for each in painted(pilot, "◂ auto ▸"))
            assert any(COLOURS & codes(each) for each in painted(pilot, "◂ auto ▸"))

    look()


@drive
async def test_other_themes_tint_the_cursor(start: Start) -> None:
    async with start(SMALL) as pilot:
        line = [each for each in painted(pilot, "404.87 k") if "404.87" in each.text]
        assert all(each.style and not each.style.reverse and each.style.bgcolor for each in line)
        assert any("48" in codes(each) for each in line)


@pytest.mark.parametrize("theme", THEMES)
def test_the_chosen_run_is_reversed(theme: str, start: Start, finished_runs: Path) -> None:
    @drive
    async def look() -> None:
        async with start(SMALL, theme=theme, runs_dir=finished_runs) as pilot:
            await pilot.press("r")
            await eventually(pilot, lambda: "▸ ✓ finished" in screen_text(pilot))
            line = [each for each in painted(pilot, "▸ ✓ finished") if "@mouse.down" not in (each.style or Style()).meta]
            assert "finished" in "".join(each.text for each in line)
            assert all({"1", "7"} <= codes(each) and not COLOURS & codes(each) for each in line)

    look()
