"""The limits of the deployment, and the batch that memory is estimated for."""

from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Label, Static

from tleg.cost import Budget
from tleg.errors import InputError
from tleg.quantities import parse_bytes, parse_count
from tleg_tui.messages import BudgetChanged
from tleg_tui.widgets.field import Field

# Key, label, example.
_FIELDS: Final = (
    ("parameters", "params ≤", "20M"),
    ("macs", "GMACs  ≤", "3"),
    ("size", "size   ≤", "50MB"),
    ("memory", "memory ≤", "1GB"),
    ("batch", "batch", "1"),
)


def read_budget(texts: dict[str, str]) -> tuple[Budget, int]:
    """Return the budget and the batch that the texts mean. Raises InputError, its first word being the field's key."""
    values: dict[str, int | None] = {}
    for key, _, _ in _FIELDS:
        text = texts.get(key, "").strip().removeprefix("≤").strip()
        try:
            values[key] = None if text in ("", "-", "–") else _read(key, text)
        except InputError as error:
            raise InputError(f"{key}: {error}") from error
    batch = values["batch"]
    return Budget(values["parameters"], values["macs"], values["size"], values["memory"]), 1 if batch is None else batch


def _read(key: str, text: str) -> int:
    if key == "macs":
        # A bare number is in GMACs, as the table shows them.
        return int(float(text) * 1e9) if _is_number(text) else parse_count(text)
    if key == "batch":
        if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
            raise InputError(f"a batch is 1 to 1,000,000 images, not '{text}'")
        return int(text)
    if key == "parameters":
        return parse_count(text)
    # A bare number is in MB: nobody's budget is a few bytes.
    return int(float(text) * 1e6) if _is_number(text) else parse_bytes(text)


def _is_number(text: str) -> bool:
    try:
        return 0 <= float(text) < 1e9
    except ValueError:
        return False


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
        for key, label, example in _FIELDS:
            with Horizontal():
                yield Label(label)
                yield Field(self._texts.get(key, ""), placeholder="–" if key != "batch" else example, id=key, compact=True)
        yield Static(id="problem")

    def on_input_changed(self, event: Field.Changed) -> None:
        """Read all fields again."""
        event.stop()
        self._texts[str(event.input.id)] = event.value
        try:
            budget, batch = read_budget(self._texts)
        except InputError as error:
            self.query_one("#problem", Static).update(Content(str(error)))
            return
        self.query_one("#problem", Static).update("")
        self.post_message(BudgetChanged(budget, batch, dict(self._texts)))

    def begin(self) -> None:
        """Go to the first field."""
        self.query_one("#parameters", Field).focus()
