"""Our own themes. Colour says at most three things: chosen, over budget, wrong; a word or a glyph says it as well."""

from dataclasses import replace
from typing import Final

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
