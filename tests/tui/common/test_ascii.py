"""`--ascii` paints ASCII alone, and every line keeps its length."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.color import Color

from tests.tui.conftest import LARGE, SMALL, Start, drive, eventually, screen_text
from tleg.models.learngene import load
from tleg_tui.common.ascii import AsciiFilter, to_ascii


@given(st.text())
def test_lengths_stay_and_nothing_but_ascii_is_left(text: str) -> None:
    result = to_ascii(text)
    assert len(result) == len(text)
    assert result.isascii()
    assert to_ascii(result) == result


@given(st.text(alphabet="aé─█▏⣿漢●…\u0301 ", max_size=20))
def test_cells_stay(text: str) -> None:
    segment = Segment(text)
    (result,) = AsciiFilter().apply([segment], Color(0, 0, 0)) or [segment]
    assert result.cell_length == segment.cell_length
    assert result.text.isascii()


def test_letters_lose_their_accents_and_others_become_question_marks() -> None:
    assert to_ascii("Gène über Straße, Łódź, naïve, ½ m² 漢字 жук 😀") == "Gene uber Strase, Lodz, naive, 1 m2 ?? ??? ?"


def test_signs_mean_what_they_meant() -> None:
    assert to_ascii("▸ ● ○ ✓ ✗ ─ │ █ ⣿ ⠁ θB ≤") == "> * o * x - | # @ . TB <"


@drive
async def test_what_users_name_is_ascii_as_well(start: Start) -> None:
    learngene = load("fashion-mnist")
    names = ("Gène", "Maß", "漢字", "жук", *learngene.header.classes[4:])
    file = Path("Gène 漢.safetensors")
    learngene.with_header(classes=names).save(file)
    async with start(LARGE, opened=file.absolute(), ascii=True) as pilot:
        await eventually(pilot, lambda: "Gene, Mas, ?" in screen_text(pilot))
        assert screen_text(pilot).isascii()
        assert "Gene ?" in screen_text(pilot)
        for keys in (["b"], ["escape", "f"], ["escape", "e"], ["escape", "o"]):
            await pilot.press(*keys)
            await pilot.pause(0.2)
            assert screen_text(pilot).isascii(), keys


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
