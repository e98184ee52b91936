"""The top line: where one is, and which runs are at work."""

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tleg.text import printable
from tleg_tui.run_list import RunList


class TitleBar(Widget):
    """One line. Follows the application's `runs`."""

    DEFAULT_CSS = """
    TitleBar { height: 1; dock: top; color: $text-muted; background: $panel; }
    """

    title: reactive[str] = reactive("")
    runs: reactive[RunList] = reactive(RunList())

    def render(self) -> RenderResult:
        """The name of the screen on the left, the runs on the right."""
        width = self.size.width
        left = Content.assemble((" tleg", "bold $primary"), (f" ─ {self.title} ", "$foreground"))
        right = self._runs(width - left.cell_length - 1)
        gap = width - left.cell_length - right.cell_length
        if gap < 1:
            return left.truncate(width, ellipsis=True)
        return left + Content.styled("─" * gap, "$foreground-disabled") + right

    def _runs(self, room: int) -> Content:
        """The runs at work: the name of the only one where it is not said and there is room, else their number."""
        at_work = self.runs.at_work
        if not at_work:
            return Content("")
        only = at_work[0] if len(at_work) == 1 else None
        done = at_work[0].look.state
        share = f" {100 * done.step // done.steps} %" if only and done.step is not None and done.steps else ""
        named = only is not None and only.id not in self.title
        texts = [f"{printable(only.id)}{share} "] if named and only else []
        for text in (*texts, f"{len(at_work)} running{share} "):
            line = Content.assemble((" ▶ ", "bold $success"), (text, "$foreground"))
            if line.cell_length <= room:
                return line
        return Content("")
