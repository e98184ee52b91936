"""Every text can be read in every theme: contrast as WCAG defines it, computed from what real screens paint."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color, ColorSystem, ColorType
from rich.color_triplet import ColorTriplet
from textual.pilot import Pilot

from tests.tui.conftest import Start, drive, eventually, screen_text
from tleg_tui.common.colours import contrast, in_256, needed, readable, worst_contrast

Story = Callable[[Pilot[None]], Awaitable[Any]]
OWN = ("tleg-dark", "tleg-light", "tleg-colour-blind")


def luminance(colour: ColorTriplet) -> float:
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour.normalized]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def ratio(one: ColorTriplet, two: ColorTriplet) -> float:
    low, high = sorted(map(luminance, (one, two)))
    return (high + 0.05) / (low + 0.05)


def poor(pilot: Pilot[None], least: float = 4.5) -> list[str]:
    """The texts on the screen whose contrast is too little, in true colour or in 256."""
    found = []
    texts = 0
    for strip in pilot.app.screen._compositor.render_strips():
        for segment in strip:
            style = segment.style
            if not any(letter.isalnum() for letter in segment.text) or style is None:
                continue
            assert style.color is not None
            assert style.bgcolor is not None
            pair = (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)
            assert all(each.type is ColorType.TRUECOLOR for each in pair), segment
            texts += 1
            for system in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT):
                one, two = (each.downgrade(system).get_truecolor() for each in pair)
                if ratio(one, two) < least:
                    found.append(f"{ratio(one, two):.2f} {one.hex} on {two.hex}: {segment.text.strip()}")
    assert texts > 8
    return found


async def over_the_budget(pilot: Pilot[None]) -> None:
    await pilot.press("slash", *"250k", "enter", "down", "p", "down", "down", "p")
    await eventually(pilot, lambda: "▸  7" in screen_text(pilot))


async def compare(pilot: Pilot[None]) -> None:
    await over_the_budget(pilot)
    await pilot.press("c")
    await eventually(pilot, lambda: "two depths" in screen_text(pilot))


async def form(pilot: Pilot[None]) -> None:
    await pilot.press("f", *"nowhere", "down", "down", "x", "up")
    await eventually(pilot, lambda: "2 problems" in screen_text(pilot))


async def form_with_groups(pilot: Pilot[None]) -> None:
    await pilot.press("l", "right", *["tab"] * 20)
    await eventually(pilot, lambda: "unfold" in screen_text(pilot))


async def export(pilot: Pilot[None]) -> None:
    await pilot.press("b", "down", "end", "x")
    await eventually(pilot, lambda: "8x" in screen_text(pilot))


async def evaluate(pilot: Pilot[None]) -> None:
    await pilot.press("e", "tab", "end", "x", "enter")
    await eventually(pilot, lambda: "1-16x" in screen_text(pilot))


async def files(pilot: Pilot[None]) -> None:
    Path("folder").mkdir()
    Path("other.pth").write_bytes(b"x")
    await pilot.press("o", "z", "z", "enter")
    await eventually(pilot, lambda: "there is no file" in screen_text(pilot))


async def keys(pilot: Pilot[None]) -> None:
    await pilot.press("question_mark", "b")
    await eventually(pilot, lambda: "budget" in screen_text(pilot))


async def palette(pilot: Pilot[None]) -> None:
    await pilot.press("ctrl+p", "b")
    await eventually(pilot, lambda: "budget" in screen_text(pilot))


async def question(pilot: Pilot[None]) -> None:
    await pilot.press("r", "D")
    await eventually(pilot, lambda: "cannot be undone" in screen_text(pilot))


async def told(pilot: Pilot[None]) -> None:
    pilot.app._disable_notifications = False  # As tests have it otherwise; it counts for screens that are made from now on.
    await runs(pilot)
    pilot.app.notify("something happened", timeout=600)
    pilot.app.notify("something went wrong", severity="error", timeout=600)
    await eventually(pilot, lambda: "went wrong" in screen_text(pilot))


async def runs(pilot: Pilot[None]) -> None:
    await pilot.press("r", "space")
    await eventually(pilot, lambda: "finished" in screen_text(pilot))


async def run(pilot: Pilot[None]) -> None:
    await pilot.press("a")
    await eventually(pilot, lambda: "checkpoint of step" in screen_text(pilot))


async def about(pilot: Pilot[None]) -> None:
    await run(pilot)
    await pilot.press("i")
    await eventually(pilot, lambda: "Recipe" in screen_text(pilot) or "evaluate-depths" in screen_text(pilot))


STORIES: dict[str, Story] = {
    each.__name__: each
    for each in (
        *(over_the_budget, compare, form, form_with_groups, export, evaluate, files),
        *(keys, palette, question, told, runs, run, about),
    )
}


@pytest.mark.parametrize("whose", ["ours", pytest.param("textual's", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", STORIES)
def test_every_text_of_a_screen_can_be_read_in_every_theme(name: str, whose: str, start: Start, finished_runs: Path) -> None:
    @drive
    async def look() -> None:
        async with start((120, 34), runs_dir=finished_runs) as pilot:
            await STORIES[name](pilot)
            # The terminal's own sixteen colours are another matter: tests/tui/common/test_ansi_themes.py.
            others = sorted({each for each in pilot.app.available_themes if "ansi" not in each} - set(OWN))
            assert len(others) > 15
            themes = OWN if whose == "ours" else others
            found = {}
            for theme in themes:
                pilot.app.theme = theme
                await pilot.pause(0.02)
                await eventually(pilot, lambda: not pilot.app.screen._dirty_widgets)
                if poor_here := poor(pilot):
                    found[theme] = poor_here[:3]
            assert not found, f"{len(found)} of {len(themes)} themes: {found}"

    look()


# The arithmetic.

COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda parts: ColorTriplet(*parts))


def test_contrast_of_known_pairs() -> None:
    assert contrast(ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255)) == pytest.approx(21)
    assert contrast(ColorTriplet(119, 119, 119), ColorTriplet(255, 255, 255)) == pytest.approx(4.48, abs=0.005)
    # What was painted for the chosen depth over the budget.
    assert contrast(ColorTriplet(0x6D, 0x6E, 0x74), ColorTriplet(0x32, 0x40, 0x5F)) == pytest.approx(2.0, abs=0.05)
    assert worst_contrast(ColorTriplet(0x6D, 0x6E, 0x74), ColorTriplet(0x32, 0x40, 0x5F)) == pytest.approx(1.2, abs=0.05)


@given(COLOURS, COLOURS)
def test_a_colour_is_moved_no_further_than_it_needs(colour: ColorTriplet, ground: ColorTriplet) -> None:
    for least in (3.0, 4.5):
        found = readable(colour, ground, least)
        reached = min(ratio(found, ground), ratio(in_256(found), in_256(ground)))
        ends = [
            min(ratio(end, ground), ratio(end, in_256(ground)))
            for end in (ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255))
        ]
        assert reached >= min(least, *[max(ends)]) - 1e-9
        if min(ratio(colour, ground), ratio(in_256(colour), in_256(ground))) >= least:
            assert found == colour


@pytest.mark.parametrize(
    ("text", "least"), [("depth 8", 4.5), ("Gène", 4.5), ("●", 3.0), ("✓ ", 3.0), ("──┤│", 0.0), ("⠒⡇", 0.0), ("  ", 0.0)]
)
def test_letters_need_more_than_signs_and_lines_nothing(text: str, least: float) -> None:
    assert needed(text) == least


def test_a_terminal_of_256_colours_gets_the_nearest() -> None:
    assert in_256(ColorTriplet(0x32, 0x40, 0x5F)) == ColorTriplet(0x5F, 0x5F, 0x5F)
    assert Color.from_triplet(ColorTriplet(0x32, 0x40, 0x5F)).downgrade(ColorSystem.EIGHT_BIT).number == 59
