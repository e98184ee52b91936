"""`tleg-tui --serve` in a real browser: laid out for the window at first sight, and keys without a click."""

from typing import Any

import pytest
from PIL import Image

from tests.tui.conftest import drive
from tests.tui.test_serve import served as served  # The fixture.

pytest.importorskip("aiohttp", reason="the extra 'serve' is not installed")
from tests.tui.browser import CHROMIUM, Page, open_browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
# From themes.py: the ground of the first and the last line, which run from edge to edge.
PANEL = (0x24, 0x29, 0x38)


async def screen_of(page: Page) -> tuple[float, float, float, float]:
    """Where the terminal is on the page, in pixels: left, top, width, height."""
    script = "(() => {const r = document.querySelector('.xterm-screen').getBoundingClientRect();"
    found = await page.evaluate(script + "return [r.left, r.top, r.width, r.height];})()")
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


def spans(picture: Image.Image, x: float, y: float, width: float) -> float:
    """Which share of a line of pixels has the ground of the title and of the keys."""
    places = range(round(x), round(x + width))
    return sum(picture.getpixel((place, round(y))) == PANEL for place in places) / len(places)


@pytest.mark.parametrize("window", [(1600, 900), (740, 500)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_first_screen_has_the_size_of_the_window(window: tuple[int, int], served: tuple[int, Any]) -> None:
    @drive
    async def look() -> None:
        async with open_browser() as page:
            await page.open(f"http://127.0.0.1:{served[0]}/", *window)
            first = await page.still_picture()
            columns, rows = page.sizes[-1]
            left, top, width, height = await screen_of(page)
            cell = height / rows
            assert abs(width / columns - 9) < 1.5  # The terminal fills the window, whatever its size.
            assert window[0] - width < 3 * 9
            # The title and the keys reach from edge to edge: at the top of the first line and the bottom of the last one.
            assert spans(first, left, top + 1, width) > 0.95
            assert spans(first, left, top + height - 2, width) > 0.95
            assert spans(first, left, top + 3 * cell, width) < 0.01
            # A window that changes and comes back shows the same, to the pixel.
            await page.resize(window[0] + 90, window[1])
            assert await page.still_picture() != first
            assert page.sizes[-1][0] > columns
            await page.resize(*window)
            assert await page.shows(first)
            assert page.sizes[-1] == (columns, rows)

    look()


@drive
async def look_at_keys(served: tuple[int, Any]) -> None:
    async with open_browser() as page:
        await page.open(f"http://127.0.0.1:{served[0]}/", 1200, 700)
        before = await page.still_picture()
        assert await page.evaluate("document.activeElement.className") == "xterm-helper-textarea"
        await page.press("/250k")
        after = await page.still_picture()
        assert after != before
        # Something else on the page may have the focus: keys find the terminal again.
        await page.evaluate("document.activeElement.blur()")
        await page.press("\r")
        await page.press("?")
        assert await page.still_picture() != after


def test_keys_need_no_click(served: tuple[int, Any]) -> None:
    look_at_keys(served)
