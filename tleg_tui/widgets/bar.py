"""Bars that are exact to an eighth of a cell."""

from typing import Final

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def bar_text(share: float, width: int) -> str:
    """Return a bar for a share of `width` cells: nothing for 0, and never less than a sliver for more."""
    eighths = max(round(min(max(share, 0.0), 1.0) * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
