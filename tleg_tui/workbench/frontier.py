"""The frontier beside the table: what the depths reach against what they cost, and where the chosen one is."""

from typing import ClassVar, Final

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip

from tleg.learngene.frontier import Frontier
from tleg.learngene.frontier_cells import LEAST_HEIGHT, LEAST_WIDTH, Cell, Role, legend, plot_cells, runs
from tleg.text import printable
from tleg_tui.common.lines import Spans, to_strip

# Lines for the title, and for what the marks mean.
_AROUND: Final = 2


class FrontierPanel(Spans):
    """Accuracy over one cost. `show` paints what changed."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"frontier--{role}" for role in ("text", "axis", "line", "limit", "expanded", "trained", "tuned", "chosen", "over")
    }
    DEFAULT_CSS = """
    FrontierPanel .frontier--text { color: $text-muted; }
    FrontierPanel .frontier--axis { color: $text-disabled; }
    FrontierPanel .frontier--line { color: $text-disabled; }
    FrontierPanel .frontier--limit { color: $warning; }
    FrontierPanel .frontier--expanded { color: $primary; }
    FrontierPanel .frontier--trained { color: $primary; }
    FrontierPanel .frontier--tuned { color: $secondary; }
    FrontierPanel .frontier--chosen { color: $accent; text-style: bold; }
    FrontierPanel .frontier--over { color: $text-disabled; }
    FrontierPanel:ansi .frontier--over { text-style: dim; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._frontier: Frontier | None = None

    def show(self, frontier: Frontier | None) -> None:
        """Show another frontier; None: nothing is known."""
        if frontier != self._frontier:
            self._frontier = frontier
            self.paint()

    def make_lines(self, width: int, height: int) -> list[Strip]:
        """The title, the picture, what its marks mean."""
        frontier = self._frontier
        if frontier is None:
            return [Strip.blank(width, self.rich_style)] * height
        lines = [to_strip(self, _title(frontier, width), width)]
        if not frontier.points:
            lines.append(to_strip(self, Content.styled(_missing(frontier), "$foreground-muted"), width))
        elif width >= LEAST_WIDTH and height >= LEAST_HEIGHT + _AROUND:
            lines += [self._strip(line) for line in plot_cells(frontier, width, height - _AROUND)]
            lines.append(self._legend(frontier, width))
        return (lines + [Strip.blank(width, self.rich_style)] * height)[:height]

    def _strip(self, line: list[Cell]) -> Strip:
        return Strip([self._segment(text, role) for text, role in runs(line)], len(line))

    def _segment(self, text: str, role: Role) -> Segment:
        return Segment(text, self.get_component_rich_style(f"frontier--{role}") if role else self.rich_style)

    def _legend(self, frontier: Frontier, width: int) -> Strip:
        segments = [Segment("  ", self.rich_style)]
        for cell, text in legend(frontier):
            segments += [self._segment(cell.text, cell.role), self._segment(f" {printable(text)}   ", "text")]
        return Strip(segments).adjust_cell_length(width, self.rich_style)


def _title(frontier: Frontier, width: int) -> Content:
    title = Content.assemble(("Frontier", "bold $primary"), (f" ─ top-1 over {frontier.label}", "$foreground-muted"))
    key = Content.assemble(("v", "bold $accent"), (" turns", "$foreground-muted"))
    gap = width - title.cell_length - key.cell_length
    return Content.assemble(title, " " * gap, key) if gap >= 2 else title


def _missing(frontier: Frontier) -> str:
    if frontier.unmeasured:
        return "no accuracy is known: e measures it"
    return f"no {frontier.axis.label} is known of these depths"
