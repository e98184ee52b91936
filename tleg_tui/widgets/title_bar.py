"""The top line: where one is, and which runs are at work."""

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tleg.cli.output import printable
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
        left = Content.assemble((" tleg", "bold $primary"), (f" ─ {self.title} ", "$foreground"))
        right = self._runs()
        gap = self.size.width - left.cell_length - right.cell_length
        if gap < 1:
            return (left + Content.styled("…", "$foreground-muted") + right).truncate(self.size.width, ellipsis=True)
        return left + Content.styled("─" * gap, "$foreground-disabled") + right

    def _runs(self) -> Content:
        at_work = self.runs.at_work
        if not at_work:
            return Content("")
        names = f"{len(at_work)} running" if len(at_work) > 1 else printable(at_work[0].id)
        done = at_work[0].look.state
        share = f" {100 * done.step // done.steps} %" if len(at_work) == 1 and done.step is not None and done.steps else ""
        return Content.assemble((" ▶ ", "bold $success"), (f"{names}{share} ", "$foreground"))
