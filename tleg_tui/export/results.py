"""The files that a build makes: what they will be called, what is being done, and what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tleg.text import format_bytes, printable
from tleg_tui.common.cells import fit_ends
from tleg_tui.export.cost import cost_lines
from tleg_tui.export.reports import Figures

_SIZE: Final = 9
_ERROR: Final = 14
_SAME: Final = 11


@dataclass(frozen=True, slots=True)
class ExportLine:
    """One export.

    stage  'new', 'exists' or 'replaces' before it is built; then 'waiting', the build's stages, and 'done' with figures, or
           'given up' or 'failed'
    """

    path: Path
    stage: str
    figures: Figures | None = None


# Stages of an export that is being made.
AT_WORK: Final = ("writing", "calibrating", "verifying", "measuring")
# Stage -> glyph, colour, words.
_STAGES: Final = {
    "unknown": ("·", "$foreground-muted", ""),
    "new": ("·", "$foreground-muted", "new"),
    "exists": ("!", "$warning", "exists already"),
    "replaces": ("!", "$warning", "will be replaced"),
    "waiting": ("…", "$foreground-muted", "waiting"),
    "writing": ("▶", "$primary", "writing"),
    "calibrating": ("▶", "$primary", "calibrating"),
    "verifying": ("▶", "$primary", "verifying"),
    "measuring": ("▶", "$primary", "measuring"),
    "done": ("✓", "$success", ""),
    "given up": ("■", "$warning", "given up"),
    "failed": ("✗", "$error", "failed"),
}


class ExportList(VerticalScroll, can_focus=True):
    """A line for each export under a heading, what smaller numbers cost and save, and where Python's lines are.

    Scrolls where that is more than there is room for.
    """

    DEFAULT_CSS = """
    ExportList { height: auto; max-height: 5; scrollbar-size-vertical: 1; }
    ExportList Static { height: auto; }
    .-tall ExportList { max-height: 18vh; }
    """

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(id="export-lines")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._lines: tuple[ExportLine, ...] = ()
        self._dtype = ""

    def on_resize(self) -> None:
        """Names have as much room as there is."""
        self._draw()

    @property
    def lines(self) -> tuple[ExportLine, ...]:
        """What is shown."""
        return self._lines

    def show(self, lines: Sequence[ExportLine], dtype: str = "") -> None:
        """Show other lines, whose numbers are called `dtype`, and keep the one that is worked on in sight."""
        if tuple(lines) == self._lines:
            return
        self._lines, self._dtype = tuple(lines), dtype
        self._draw()
        at_work = next((place for place, line in enumerate(lines) if line.stage in AT_WORK), None)
        if at_work is not None:
            self.scroll_to(y=max(at_work - 1, 0), animate=False)

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0 or not self._lines:
            return
        figures = any(line.figures is not None for line in self._lines)
        notes = dict.fromkeys(line.figures.note for line in self._lines if line.figures is not None and line.figures.note)
        text = Content("\n").join(
            [
                _heading(self._lines, width, figures),
                *(_line(line, width) for line in self._lines),
                *(Content.styled(printable(note or ""), "$foreground-muted") for note in notes),
                *self._costs(),
                *_examples(self._lines),
            ]
        )
        self.query_one(Static).update(text)

    def _costs(self) -> list[Content]:
        """The tables beside float32, each under the name of its export where there are several."""
        found = [(line, line.figures.cost) for line in self._lines if line.figures is not None and line.figures.cost]
        shown: list[Content] = []
        for line, cost in found:
            heading, *figures, images = cost_lines(cost, self._dtype)
            named = [Content.styled(printable(line.path.name), "$foreground-muted")] if len(found) > 1 else []
            shown += [
                *named,
                Content.styled(heading, "$foreground-muted"),
                *map(Content, figures),
                Content.styled(printable(images), "$foreground-muted"),
            ]
        return shown


def _examples(lines: Sequence[ExportLine]) -> list[Content]:
    """Where the lines of Python are, which are the same for all."""
    for line in lines:
        if line.figures is not None and line.figures.manifest is not None:
            name = printable(line.figures.manifest.name)
            return [Content.styled(f"its use in Python without tleg: 'example' in {name}", "$foreground-muted")]
    return []


def _heading(lines: Sequence[ExportLine], width: int, figures: bool) -> Content:
    place = printable(str(lines[0].path.parent))
    if not figures:
        return Content.styled(f"makes in {place}", "$foreground-muted").truncate(width, ellipsis=True)
    room = max(width - _SIZE - _ERROR - _SAME, 8)
    titles = f"{'size':>{_SIZE}}{'largest error':>{_ERROR}}{'same class':>{_SAME}}"
    left = Content(f"in {place}").truncate(room, ellipsis=True)
    return Content.styled(left.plain.ljust(room) + titles, "$foreground-muted")


def _line(line: ExportLine, width: int) -> Content:
    glyph, colour, words = _STAGES.get(line.stage, _STAGES["unknown"])
    found = line.figures
    if found is None:
        tail = f"{words:>17}"
    else:
        error = "not verified" if found.error is None else f"{found.error:.1e}"
        same = "" if found.agreement is None else f"{100 * found.agreement:.0f} %"
        tail = f"{format_bytes(found.bytes):>{_SIZE}}{error:>{_ERROR}}{same:>{_SAME}}"
    room = max(width - 2 - len(tail), 8)
    name = fit_ends(printable(line.path.name), room)
    return Content.assemble((f"{glyph} ", colour), name, (tail, colour if found is None else ""))
