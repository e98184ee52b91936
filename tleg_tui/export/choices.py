"""Choices on a line: one of several, or as many as are ticked."""

from collections.abc import Sequence
from typing import Final

from textual import events
from textual.app import RenderResult
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget

_BOX: Final = 4  # Cells before a name.


class Choices(Widget, can_focus=True):
    """Left and right go along the line, space ticks. Of `single` choices the one that is gone to is the chosen one.

    Enter is left to the screen.
    """

    DEFAULT_CSS = "Choices { width: 1fr; height: auto; }"

    class Changed(Message):
        """Something was ticked, or the cursor moved."""

        def __init__(self, choices: "Choices") -> None:
            super().__init__()
            self.choices = choices

    def __init__(self, names: Sequence[str], chosen: Sequence[str], *, single: bool = False, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self.names = tuple(names)
        self._chosen = set(chosen)
        self._single = single
        self._cursor = next((place for place, name in enumerate(self.names) if name in self._chosen), 0)

    @property
    def chosen(self) -> tuple[str, ...]:
        """What is chosen, in the order of the line."""
        return tuple(name for name in self.names if name in self._chosen)

    @property
    def current(self) -> str:
        """What the cursor is on."""
        return self.names[self._cursor]

    def offer(self, names: Sequence[str]) -> None:
        """Offer other names; of `single` choices the first is chosen where the chosen one is gone."""
        if tuple(names) == self.names:
            return
        current, self.names = self.current, tuple(names)
        self._chosen &= set(names)
        if self._single and not self._chosen:
            self._chosen = {self.names[0]}
        held = self.chosen[0] if self._single else current
        self._cursor = self.names.index(held) if held in self.names else 0
        self.refresh(layout=True)

    def render(self) -> RenderResult:
        """The names with their boxes."""
        return Content("\n").join(
            Content("").join(self._choice(place, self.names[place]) + Content("  ") for place, _ in line)
            for line in self._lines(self.size.width)
        )

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """What one line takes."""
        return sum(_BOX + len(name) + 2 for name in self.names)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as the names take."""
        return len(self._lines(width))

    def _lines(self, width: int) -> list[list[tuple[int, int]]]:
        """The places of the names on each line, with the cell where each begins: a name is never broken."""
        lines: list[list[tuple[int, int]]] = [[]]
        start = 0
        for place, name in enumerate(self.names):
            if lines[-1] and start + _BOX + len(name) > width:
                lines.append([])
                start = 0
            lines[-1].append((place, start))
            start += _BOX + len(name) + 2
        return lines

    def _choice(self, place: int, name: str) -> Content:
        chosen = name in self._chosen
        box = ("(●) " if chosen else "( ) ") if self._single else ("[x] " if chosen else "[ ] ")
        if self.has_focus and place == self._cursor:
            return Content.styled(box + name, "bold reverse")
        style = "bold $accent" if chosen else "$foreground-muted"
        return Content.assemble((box, style), (name, "" if chosen else "$foreground-muted"))

    def on_focus(self) -> None:
        """The cursor is seen with the focus alone."""
        self.refresh()

    def on_blur(self) -> None:
        """So it goes with it."""
        self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Move and tick."""
        if event.key in ("left", "right"):
            self._go_to(self._cursor + (1 if event.key == "right" else -1))
            event.stop()
        elif event.key == "space":
            self.tick(self.current)
            event.stop()

    def on_click(self, event: events.Click) -> None:
        """Tick what is under the mouse."""
        lines = self._lines(self.size.width)
        for place, start in lines[event.y] if event.y < len(lines) else []:
            if start <= event.x < start + _BOX + len(self.names[place]):
                self._cursor = place
                self.tick(self.names[place])

    def _go_to(self, place: int) -> None:
        self._cursor = place % len(self.names)
        if self._single:
            self.tick(self.current)
        else:
            self.refresh()
            self.post_message(self.Changed(self))

    def tick(self, name: str) -> None:
        """Choose, or take back."""
        if self._single:
            self._chosen = {name}
        else:
            self._chosen ^= {name}
        self.refresh()
        self.post_message(self.Changed(self))
