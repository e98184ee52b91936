"""A few choices on one line, one of them or several."""

from collections.abc import Sequence

from textual import events
from textual.app import RenderResult
from textual.content import Content
from textual.message import Message
from textual.widget import Widget


class Choices(Widget, can_focus=True):
    """Left and right go along the line, space ticks. Of `single` choices the one that is gone to is the chosen one.

    Enter is left to the screen.
    """

    DEFAULT_CSS = "Choices { height: 1; }"

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

    def render(self) -> RenderResult:
        """The names with their boxes."""
        line = Content("")
        for place, name in enumerate(self.names):
            line = line + self._choice(place, name) + Content("  ")
        return line

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
        start = 0
        for place, name in enumerate(self.names):
            stop = start + len(name) + 4
            if start <= event.x < stop:
                self._cursor = place
                self.tick(name)
            start = stop + 2

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
