"""How screens are left: each leaves once, and by itself alone."""

import asyncio
from typing import TYPE_CHECKING, Any

from textual.await_complete import AwaitComplete

if TYPE_CHECKING:
    from textual.screen import Screen

    Base = Screen[Any]
else:
    Base = object  # Of several bases Textual takes the styles of the first widget alone, so this is none.


class Leaving(Base):
    """Mixed into a screen, its `dismiss` takes itself off, and not whatever lies on top of it, as Textual's does.

    A second `dismiss` (two quick Escapes, an Enter and the end of a child process) does nothing. One that comes while
    another screen lies on top is done when that one is gone.
    """

    _due: tuple[Any] | None = None

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Leave with a result."""
        if self.app.screen is self:
            return super().dismiss(result)
        if self in self.app.screen_stack:
            self._due = (result,)
        return AwaitComplete(asyncio.sleep(0))

    def on_screen_resume(self) -> None:
        """Leave, if that was due."""
        if self._due is not None:
            (result,), self._due = self._due, None
            self.dismiss(result)
