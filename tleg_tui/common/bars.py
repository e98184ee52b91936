"""The title bar on top, with the runs at work, and the key bar at the bottom, with what can be done here."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.app import RenderResult
from textual.binding import Binding
from textual.content import Content
from textual.dom import DOMNode
from textual.reactive import reactive
from textual.widget import Widget

from tleg.text import printable
from tleg_tui.actions import ACTIONS, Action, action_of, key_name, working_keys
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


_ORDER: Final = {
    (scope, action.name): (scope == "app", place)
    for place, (scope, action) in enumerate((scope, action) for scope, actions in ACTIONS.items() for action in actions)
}


@dataclass(frozen=True, slots=True)
class _Piece:
    text: Content
    binding: Binding
    owner: DOMNode


class KeyBar(Widget):
    """One line of keys, from the bindings that are active. What does not fit is left out; help never is."""

    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; background: $panel; color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._places: list[tuple[int, int, _Piece]] = []

    def on_mount(self) -> None:
        """Follow the bindings of the screen."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> RenderResult:
        """The keys of the panel and the screen, then those of the application."""
        pieces, tail = self._pieces()
        room = self.size.width - 2 - (tail.text.cell_length if tail is not None else 0)
        line, self._places = Content(" "), []
        for piece in [*pieces, *([tail] if tail is not None else [])]:
            if piece is not tail and line.cell_length + piece.text.cell_length + 2 > room:
                continue
            self._places.append((line.cell_length, line.cell_length + piece.text.cell_length, piece))
            line = line + piece.text + Content("  ")
        return line

    async def on_click(self, event: events.Click) -> None:
        """Do what is written there."""
        for start, stop, piece in self._places:
            if start <= event.x < stop:
                await self.app.run_action(piece.binding.action, piece.owner)

    def _pieces(self) -> tuple[list[_Piece], _Piece | None]:
        found: dict[tuple[str, str], _Piece] = {}
        tail: _Piece | None = None
        active = self.screen.active_bindings
        for owner, binding, enabled, _ in active.values():
            known = action_of(binding)
            if known is None or not enabled:
                continue
            scope, action = known
            if action.name == "help_keys":
                tail = tail or _Piece(_text(action, active), binding, owner)
            elif action.bar:
                found.setdefault((scope, action.name), _Piece(_text(action, active), binding, owner))
        return [found[place] for place in sorted(found, key=_ORDER.__getitem__)], tail


def _text(action: Action, active: Container[str]) -> Content:
    return Content.assemble((key_name(working_keys(action, active)[0]), "bold $accent"), f" {action.label}")
