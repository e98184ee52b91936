"""Texts in a room of so many cells."""

from rich.cells import cell_len, set_cell_size


def fit(text: str, width: int) -> str:
    """Return a text in exactly so many cells; what is cut off leaves '…'."""
    fitted = set_cell_size(text, width)
    return fitted if fitted.startswith(text) else set_cell_size(text, width - 1) + "…"


def fit_ends(text: str, width: int) -> str:
    """Return a text in exactly so many cells; what is cut out of its middle leaves '…'.

    For names that begin alike and end in what tells them apart: '-depth8', 'at depth 8', '-2'.
    """
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    room = width // 2
    end = len(text)
    while end and cell_len(text[end - 1 :]) <= room:
        end -= 1
    last = text[end:]
    return set_cell_size(text, width - 1 - cell_len(last)) + "…" + last
