"""Two pinned depths side by side."""

from collections.abc import Iterator
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tleg.learngene.profile import format_depth
from tleg.text import format_bytes, format_count, format_image_size, printable
from tleg_tui.common.cells import fit
from tleg_tui.common.screens import Dialog
from tleg_tui.workbench.model import Descendant

_Row = tuple[str, str, str, str]
_WIDEST: Final = 13
_LEAST_LABEL: Final = 20


class CompareDepthsScreen(Dialog[None]):
    """A table of both, with what the deeper costs and gains over the shallower."""

    def __init__(self, name: str, shallow: Descendant, deep: Descendant) -> None:
        super().__init__()
        self._entry_name = name
        self._pair = (shallow, deep)

    def compose(self) -> ComposeResult:
        """The table."""
        with Vertical(classes="dialog"):
            yield Static(f"{printable(self._entry_name)}: two depths", classes="dialog-title", markup=False)
            yield Static(id="comparison")
            yield Static("esc closes", classes="hint")

    def on_resize(self) -> None:
        """The columns are as wide as there is room, once that is known."""
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        table = self.query_one("#comparison", Static)
        table.update(compare(*self._pair, table.content_size.width))


def compare(shallow: Descendant, deep: Descendant, width: int) -> Content:
    """Return what two descendants cost and reach, and what lies between them, on lines of at most `width` cells."""
    one, two = shallow.row.cost, deep.row.cost
    rows: list[_Row] = [("", f"depth {format_depth(one.depth)}", f"depth {format_depth(two.depth)}", "difference")]
    if shallow.sized or deep.sized:
        left, right = (format_image_size(each.row.image_size) for each in (shallow, deep))
        rows.append(("pixels", left, right, ""))
    for label, name, form in (
        ("parameters", "parameters", format_count),
        ("GMACs", "macs", lambda value: f"{value / 1e9:.4g}"),
        ("size", "size", format_bytes),
        (f"inference, batch {shallow.batch}", "inference_memory", format_bytes),
        (f"training, batch {shallow.batch}", "training_memory", format_bytes),
    ):
        left, right = getattr(one, name), getattr(two, name)
        ratio = f"x {right / left:.2f}" if left else "–"
        rows.append((label, form(left), form(right), ratio))
    rows.append(_accuracies(_named("zero-shot top-1", shallow.data.removesuffix(" validation")), shallow.top1, deep.top1))
    # A row for each data set: only what was reached on the same images has a difference.
    for data in dict.fromkeys(each.data for shown in (shallow, deep) for each in shown.tuned):
        tuned = [next((each.top1 for each in shown.tuned if each.data == data), None) for shown in (shallow, deep)]
        rows.append(_accuracies(_named("fine-tuned top-1", data), *tuned))
    return Content("\n").join(_lines(rows, width))


def _named(what: str, data: str) -> str:
    return f"{what}, {data}" if data else what


def _accuracies(label: str, left: float | None, right: float | None) -> _Row:
    texts = ["–" if value is None else f"{value:.2f} %" for value in (left, right)]
    gain = "–" if left is None or right is None else f"{right - left:+.2f}"
    return label, texts[0], texts[1], gain


def _lines(rows: list[_Row], width: int) -> Iterator[Content]:
    """The rows in columns; the first row is the titles. Labels keep what they need, figures share the rest."""
    least = max(len(text) for row in rows for text in row[1:]) + 1
    first = min(max(len(label) for label, *_ in rows) + 1, max(width - 3 * least, _LEAST_LABEL))
    column = min(max((width - first) // 3, 0), max(_WIDEST, least))
    for place, (name, left, right, between) in enumerate(rows):
        label = fit(name, first - 1)
        figures = f"{left:>{column}}{right:>{column}}"
        if place == 0:
            yield Content.styled(f"{label:<{first}}{figures}{between:>{column}}", "bold")
        else:
            yield Content.assemble((f"{label:<{first}}", "$foreground-muted"), figures, (f"{between:>{column}}", "$accent"))
