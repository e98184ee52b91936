"""The screen in ASCII, for fonts and terminals that lack more: `--ascii` translates what is painted, and nothing else."""

import unicodedata
from functools import lru_cache
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_TABLE: Final = {
    **dict.fromkeys("─━═╌┄┈╴╶▔‾", "-"),
    **dict.fromkeys("│┃║┆▏▎▕▐▌❘", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝", "+"),
    **dict.fromkeys("█▇▆▅▓▉▊", "#"),
    **dict.fromkeys("▒▋▄▀▃▍", "="),
    **dict.fromkeys("░▂▁·∙•…", "."),
    **dict.fromkeys("●◉⬤✓✔", "*"),
    **dict.fromkeys("○◯◌◔", "o"),
    **dict.fromkeys("▶▸►→❯", ">"),
    **dict.fromkeys("◀◂◄←", "<"),
    **dict.fromkeys("▲△▴↑", "^"),
    **dict.fromkeys("▼▽▾↓", "v"),
    **dict.fromkeys("■◼", "#"),
    **dict.fromkeys("◆♦", "@"),
    **dict.fromkeys("✗✘✕×", "x"),
    **dict.fromkeys("–—−", "-"),
    "≤": "<",
    "≥": ">",
    "±": "~",
    "⌀": "~",
    "≈": "~",
    "°": "'",
    "θ": "T",
    "“": '"',
    "”": '"',
    "’": "'",
    "\u00a0": " ",
}


# Letters that are none with an accent.
_LETTERS: Final = dict(zip("ßæÆœŒøØđĐðÐþÞłŁıħĦŋŧŦ", "saAoOoOdDdDtTlLihHntT", strict=True))


@lru_cache(4096)
def to_ascii(text: str) -> str:
    """Return a text in ASCII: signs by others that look alike, letters without their accents. It keeps its length."""
    if text.isascii():
        return text
    return "".join(_letter(letter) for letter in text)


def _letter(letter: str) -> str:
    if letter.isascii():
        return letter
    if "\u2800" <= letter <= "\u28ff":  # Braille: dots, by how many there are.
        return " .:;!|#@@"[(ord(letter) - 0x2800).bit_count()]
    if letter in _TABLE:
        return _TABLE[letter]
    plain = [each for each in unicodedata.normalize("NFKD", letter) if each.isascii() and each.isprintable()]
    return plain[0] if plain else _LETTERS.get(letter, "?")


class AsciiFilter(LineFilter):
    """Translates every line that is painted."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the segments in ASCII, each with as many cells as before."""
        return [
            segment
            if segment.text.isascii()
            else Segment(_translate_cells(segment.text, segment.cell_length), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def _translate_cells(text: str, width: int) -> str:
    """Translate signs of one cell, two and none; what is left over at the end are blanks."""
    cells = ((letter, to_ascii(letter)) for letter in text if cell_len(letter))
    return set_cell_size("".join(cell + " " * (cell_len(letter) - cell_len(cell)) for letter, cell in cells), width)
