"""Colours: our own themes, and the contrast of whatever a theme paints, raised to what WCAG asks for.

In a theme colour says at most three things: chosen, over budget, wrong; a word or a glyph says it as well. Contrast is
measured in full colours and in the 256 that terminals without COLORTERM get, tmux among them, where a colour and its ground
may fall together. The terminal's own sixteen colours are the user's, and left alone."""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from rich.color import Color, ColorSystem, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.color import Color as TextualColor
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

DEFAULT: Final = "tleg-dark"

_COMMON: Final = {"block-cursor-text-style": "bold"}

THEMES: Final = (
    Theme(
        name="tleg-dark",
        primary="#7aa2f7",
        secondary="#8f9bb3",
        accent="#7dcfff",
        warning="#e0af68",
        error="#f7768e",
        success="#9ece6a",
        foreground="#d5daea",
        background="#14161f",
        surface="#1a1d29",
        panel="#242938",
        variables=_COMMON,
    ),
    Theme(
        name="tleg-light",
        primary="#2557b8",
        secondary="#56607a",
        accent="#0b6e8f",
        warning="#8a5300",
        error="#b3203f",
        success="#2d6a1f",
        foreground="#1c2233",
        background="#f7f8fb",
        surface="#eef0f6",
        panel="#e1e5ef",
        dark=False,
        variables=_COMMON,
    ),
    # After Okabe and Ito, "Color Universal Design": blue, orange and sky blue are told apart with any kind of colour vision.
    Theme(
        name="tleg-colour-blind",
        primary="#56b4e9",
        secondary="#9aa3b5",
        accent="#f0e442",
        warning="#e69f00",
        error="#e69f00",
        success="#56b4e9",
        foreground="#e6e6e6",
        background="#101114",
        surface="#17191e",
        panel="#23262e",
        variables=_COMMON,
    ),
    # Textual's, whose blue of the terminal is hard to read on black.
    replace(BUILTIN_THEMES["ansi-dark"], primary="ansi_bright_blue"),
)

# Of letters and digits, and of signs that say something beside them, such as a tick or a pointer.
TEXT: Final = 4.5
SIGN: Final = 3.0
_STEPS: Final = 50
_BLACK, _WHITE = ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255)


def contrast(one: ColorTriplet, two: ColorTriplet) -> float:
    """Return the contrast of two colours as WCAG 2 defines it: 1 for the same, 21 for black on white."""
    dark, light = sorted((_luminance(one), _luminance(two)))
    return (light + 0.05) / (dark + 0.05)


def in_256(colour: ColorTriplet) -> ColorTriplet:
    """Return what a terminal of 256 colours shows of a colour."""
    return Color.from_triplet(colour).downgrade(ColorSystem.EIGHT_BIT).get_truecolor()


def worst_contrast(colour: ColorTriplet, ground: ColorTriplet) -> float:
    """Return the contrast in full colours or in 256, whichever is less."""
    return min(contrast(colour, ground), contrast(in_256(colour), in_256(ground)))


@lru_cache(4096)
def readable(colour: ColorTriplet, ground: ColorTriplet, least: float) -> ColorTriplet:
    """Return a colour moved towards white or black as far as it takes for a contrast of `least` with its ground."""
    if worst_contrast(colour, ground) >= least:
        return colour
    lighter = _luminance(colour) >= _luminance(ground)
    for end in (_WHITE, _BLACK) if lighter else (_BLACK, _WHITE):
        for step in range(1, _STEPS + 1):
            moved = ColorTriplet(*(round(old + (new - old) * step / _STEPS) for old, new in zip(colour, end, strict=True)))
            if worst_contrast(moved, ground) >= least:
                return moved
    return max(_WHITE, _BLACK, key=lambda end: worst_contrast(end, ground))


class ContrastFilter(LineFilter):
    """Raises the contrast of what is painted where it is too little."""

    def apply(self, segments: list[Segment], background: TextualColor) -> list[Segment]:
        """Return the segments, as long as before."""
        return [
            segment
            if segment.style is None or (least := needed(segment.text)) == 0
            else Segment(segment.text, _readable_style(segment.style, background.rich_color, least), segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def needed(text: str) -> float:
    """Return the contrast that a text needs: that of letters, that of signs, or 0 for lines, bars and blanks."""
    if any(letter.isalnum() for letter in text):
        return TEXT
    return 0.0 if all(_draws(letter) for letter in text) else SIGN


def _draws(letter: str) -> bool:
    return letter.isspace() or "\u2500" <= letter <= "\u259f" or "\u2800" <= letter <= "\u28ff"


@lru_cache(4096)
def _readable_style(style: Style, ground: Color, least: float) -> Style:
    over = style.bgcolor if style.bgcolor is not None and not style.bgcolor.is_default else ground
    under = style.color
    if under is None or under.type is not ColorType.TRUECOLOR or over.type is not ColorType.TRUECOLOR:
        return style
    below, above = (under, over) if style.reverse else (over, under)
    assert above.triplet is not None
    assert below.triplet is not None
    text = readable(above.triplet, below.triplet, least)
    # On a ground that is neither dark nor light nothing is read in full colours and in 256 alike: then the ground gives way.
    other = readable(below.triplet, text, least)
    if (text, other) == (above.triplet, below.triplet):
        return style
    front, back = (other, text) if style.reverse else (text, other)
    return style + Style(color=Color.from_triplet(front), bgcolor=Color.from_triplet(back))


@lru_cache(4096)
def _luminance(colour: ColorTriplet) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (each / 255 for each in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
