"""The limits of the deployment, and the batch that memory is estimated for."""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Label, Static

from tleg_tui.budget import FIELDS, read_budget
from tleg_tui.messages import BudgetChanged
from tleg_tui.widgets.field import Field
from tleg_tui.wording import shortened


class BudgetPanel(Vertical):
    """Fields that act as they are typed in; Enter and Escape go back to the table."""

    DEFAULT_CSS = """
    BudgetPanel { height: auto; }
    BudgetPanel Horizontal { height: 1; }
    BudgetPanel Label { width: 9; color: $text-muted; }
    BudgetPanel Field { width: 1fr; }
    BudgetPanel #problem { color: $error; height: auto; }
    """

    def __init__(self, texts: dict[str, str], *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._texts = dict(texts)

    def compose(self) -> ComposeResult:
        """A line for each limit."""
        yield Label("Budget", classes="panel-title")
        for key, label, example in FIELDS:
            with Horizontal():
                yield Label(label)
                yield Field(self._texts.get(key, ""), placeholder="–" if key != "batch" else example, id=key, compact=True)
        yield Static(id="problem")

    def on_input_changed(self, event: Field.Changed) -> None:
        """Read all fields again."""
        event.stop()
        self._texts[str(event.input.id)] = event.value
        budget, batch, problem = read_budget(self._texts)
        self.query_one("#problem", Static).update(Content(shortened(problem or "")))
        self.post_message(BudgetChanged(budget, batch, dict(self._texts)))

    def begin(self) -> None:
        """Go to the first field."""
        self.screen.set_focus(self.query_one("#parameters", Field))  # At once: a digit typed now belongs there.
