"""The keys: those of the focused panel first, then the screen's, then those that work everywhere."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, Final

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from tleg_tui.actions import Action, action_of, key_name, working_keys
from tleg_tui.common.inputs import Field
from tleg_tui.common.screens import Dialog

_COLUMN: Final = 20  # Cells for keys.
_WIDTH: Final = 68


class HelpScreen(Dialog[None]):
    """All keys of a screen as it is now; typing narrows them by key or word."""

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._active = frozenset(below.active_bindings)
        self._groups = list(_groups(below))

    def compose(self) -> ComposeResult:
        """A filter and the list."""
        with Vertical(classes="dialog"):
            yield Static("Keys", classes="dialog-title")
            yield Field(placeholder="type to narrow down, by key or word", id="filter", compact=True)
            with VerticalScroll(id="keys", can_focus=False):
                yield Static(id="list")
            yield Static("esc closes; wheel and click work; shift with the mouse selects text", classes="hint")

    def on_mount(self) -> None:
        """Show all."""
        self._show("")

    def on_input_changed(self, event: Field.Changed) -> None:
        """Narrow down."""
        self._show(event.value)

    def on_key(self, event: Any) -> None:
        """Scroll while the filter has the focus."""
        keys = self.query_one("#keys")
        moves = {
            "down": keys.scroll_down,
            "up": keys.scroll_up,
            "pagedown": keys.scroll_page_down,
            "pageup": keys.scroll_page_up,
        }
        if event.key in moves:
            moves[event.key](animate=False)
            event.stop()

    def _keys(self, action: Action) -> str:
        return " ".join(key_name(key) for key in working_keys(action, self._active))

    def _show(self, text: str) -> None:
        wanted = text.strip().lower()
        width = self.query_one("#list").content_size.width or _WIDTH
        lines: list[Content] = []
        for title, actions in self._groups:
            shown = [action for action in actions if wanted in f"{self._keys(action)} {action.label} {action.about}".lower()]
            if not shown:
                continue
            lines += [
                Content.styled(title, "bold $primary"),
                *(line for action in shown for line in _lines(self._keys(action), action.about, width)),
                Content(""),
            ]
        self.query_one("#list", Static).update(Content("\n").join(lines) if lines else Content("no key does that here"))


def _groups(screen: Screen[Any]) -> Iterator[tuple[str, list[Action]]]:
    found: dict[str, list[Action]] = {}
    for _, binding, _, _ in screen.active_bindings.values():
        known = action_of(binding)
        if known is not None and known[1] not in found.setdefault(known[0], []):
            found[known[0]].append(known[1])
    own = str(getattr(screen, "SCOPE", ""))
    for scope in sorted(found, key=lambda scope: (scope == "app", scope == own)):
        title = "Everywhere" if scope == "app" else "This screen" if scope == own else "Where you are"
        yield title, found[scope]


def _lines(keys_text: str, about_text: str, width: int) -> list[Content]:
    """The keys, and beside them what they do, on as many lines as that takes."""
    keys, *more = wrap(keys_text, _COLUMN - 3) or [""]
    about = wrap(about_text, max(width - _COLUMN, 20))
    keys_column = [keys, *more, *[""] * (len(about) - 1 - len(more))]
    about += [""] * (len(keys_column) - len(about))
    return [
        Content.assemble((f"  {left:<{_COLUMN - 2}}", "bold $accent"), right)
        for left, right in zip(keys_column, about, strict=True)
    ]
