"""Two pinned depths side by side."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from tleg.cli.output import format_bytes, format_count, printable
from tleg_tui.screens.base import Dialog
from tleg_tui.widgets.descendant_panel import Descendant


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
            yield Static(compare(*self._pair), id="comparison")
            yield Static("esc closes", classes="hint")


def compare(shallow: Descendant, deep: Descendant) -> Content:
    """Return what two descendants cost and reach, and what lies between them."""
    one, two = shallow.row.cost, deep.row.cost
    lines = [Content.styled(f"{'':<20}{f'depth {one.depth}':>12}{f'depth {two.depth}':>12}{'difference':>14}", "bold")]
    for label, name, form in (
        ("parameters", "parameters", format_count),
        ("GMACs", "macs", lambda value: f"{value / 1e9:.4g}"),
        ("size", "size", format_bytes),
        (f"inference, batch {shallow.batch}", "inference_memory", format_bytes),
        (f"training, batch {shallow.batch}", "training_memory", format_bytes),
    ):
        left, right = getattr(one, name), getattr(two, name)
        ratio = f"x {right / left:.2f}" if left else "–"
        lines.append(_row(label, form(left), form(right), ratio))
    lines.append(_accuracies("zero-shot top-1", shallow.top1, deep.top1))
    tuned = [None if each.tuned is None else each.tuned.top1 for each in (shallow, deep)]
    if any(value is not None for value in tuned):
        lines.append(_accuracies("fine-tuned top-1", *tuned))
    return Content("\n").join(lines)


def _accuracies(label: str, left: float | None, right: float | None) -> Content:
    texts = ["–" if value is None else f"{value:.2f} %" for value in (left, right)]
    gain = "–" if left is None or right is None else f"{right - left:+.2f}"
    return _row(label, texts[0], texts[1], gain)


def _row(label: str, left: str, right: str, between: str) -> Content:
    return Content.assemble((f"{label:<20}", "$foreground-muted"), f"{left:>12}{right:>12}", (f"{between:>14}", "$accent"))
