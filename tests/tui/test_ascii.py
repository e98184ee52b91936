"""`--ascii` paints ASCII alone, and every line keeps its length."""

from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.color import Color

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg_tui.ascii import AsciiFilter, to_ascii


@given(st.text())
def test_lengths_stay_and_only_letters_of_languages_are_left(text: str) -> None:
    result = to_ascii(text)
    assert len(result) == len(text)
    assert all(letter.isascii() or letter.isalnum() for letter in result)
    assert to_ascii(result) == result


@given(st.text(alphabet="aé─█▏⣿漢●…\u0301 ", max_size=20))
def test_cells_stay(text: str) -> None:
    segment = Segment(text)
    (result,) = AsciiFilter().apply([segment], Color(0, 0, 0)) or [segment]
    assert result.cell_length == segment.cell_length


def test_signs_mean_what_they_meant() -> None:
    assert to_ascii("▸ ● ○ ✓ ✗ ─ │ █ ⣿ ⠁ θB ≤") == "> * o * x - | # @ . TB <"


@drive
async def test_no_screen_paints_anything_else(start: Start) -> None:
    for size in (SMALL, LARGE):
        async with start(size, ascii=True) as pilot:
            for keys in ([], ["p", "down", "p"], ["c"], ["escape", "o"], ["escape", "question_mark"], ["escape", "b"]):
                await pilot.press(*keys)
                await pilot.pause()
                assert screen_text(pilot).isascii(), keys
            await pilot.press("escape", "ctrl+p")
            await eventually(pilot, lambda: type(pilot.app.screen).__name__ == "Palette")
            await pilot.pause(0.3)
            assert screen_text(pilot).isascii()
