"""Type-ahead: keys, pastes and clicks are delivered one by one, each when what the one before began has ended.

A key goes to the focus of the moment in which it is delivered, not of that in which it arrived: over SSH, and from hands
that know what comes, several arrive while a screen is still being made.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from textual.app import ScreenStackError
from textual.events import Event, Key, MouseEvent, MouseMove, Paste
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.app import App
    from textual.screen import Screen

# However long a file takes to be read: then keys go where the focus is.
LONGEST_WAIT: Final = 5.0
# Between two looks at what is waited for; a frame is painted in sixteen of these.
_LOOK_SECONDS: Final = 0.001


class TypeAhead:
    """What was typed and not delivered yet. `deliver` gets each event at its moment.

    Waited for are: messages and mounts under way; the next layout, where an event is more than a letter for a line; whatever
    is done within `held`; and a screen whose `waits_for(key)` is true. None of these for longer than LONGEST_WAIT.
    """

    def __init__(self, app: "App[Any]", deliver: Callable[[Event], None]) -> None:
        self._app = app
        self._deliver = deliver
        self._waiting: deque[Event] = deque()
        self._task: asyncio.Task[None] | None = None
        self._holds: dict[object, float] = {}  # Since when.
        self._given_up: Screen[Any] | None = None  # That screen was waited for long enough.

    @staticmethod
    def takes(event: Event) -> bool:
        """Whether an event is something that a person did, on its way in."""
        return isinstance(event, Key | MouseEvent | Paste) and not event.is_forwarded

    def take(self, event: Event) -> None:
        """Deliver an event after all that came before it."""
        if isinstance(event, MouseMove) and self._waiting and isinstance(self._waiting[-1], MouseMove):
            self._waiting[-1] = event  # Of a mouse that moves, the last place counts.
        else:
            self._waiting.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="type-ahead")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep what is typed from now on until this is done: it leads to another screen or list, for which it is meant."""
        mark = object()
        self._holds[mark] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            del self._holds[mark]

    async def delivered(self) -> None:
        """Wait until all is delivered and what it began has ended."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        await self._settled(None)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._settled(self._waiting[0])
                if self._left:
                    self._waiting.clear()
                    return
                self._deliver(self._waiting.popleft())
        except ScreenStackError:  # The workbench is being left.
            self._waiting.clear()

    @property
    def _left(self) -> bool:
        return self._app._exit or not self._app.is_running

    async def _settled(self, event: Event | None) -> None:
        """Wait until an event may be delivered; None: until nothing is under way."""
        clock = asyncio.get_running_loop().time
        end = clock() + LONGEST_WAIT
        while clock() < end:
            await _quiet(end)
            if self._left:
                return
            screen = self._app.screen
            if self._screen_waits(screen, event):
                if clock() + _LOOK_SECONDS >= end:
                    self._given_up = screen
            elif self._held(clock()):
                pass
            elif self._is_line(event) or not (screen._layout_required or screen._callbacks):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _screen_waits(self, screen: "Screen[Any]", event: Event | None) -> bool:
        if not screen.is_mounted:
            return True
        waits_for = getattr(screen, "waits_for", None)
        waits = waits_for is not None and bool(waits_for(event.key if isinstance(event, Key) else ""))
        if screen is self._given_up:
            if not waits:
                self._given_up = None
            return False
        return waits

    def _held(self, now: float) -> bool:
        return any(now - since < LONGEST_WAIT for since in self._holds.values())

    def _is_line(self, event: Event | None) -> bool:
        """Whether an event is a letter for a line: it goes there, whatever the line looks like meanwhile."""
        if isinstance(event, MouseMove):
            return True
        return isinstance(event, Key) and event.is_printable and isinstance(self._app.focused, Input)


async def _quiet(end: float) -> None:
    """Wait until nothing is ready to run: then every message was handled, also those that others led to.

    What waits for time, a thread or another process is not ready, and is not waited for.
    """
    loop = asyncio.get_running_loop()
    ready = getattr(loop, "_ready", None)  # No public way tells; another kind of loop has its turns counted.
    quiet = turns = 0
    while quiet < 2 and loop.time() < end:
        await asyncio.sleep(0)
        turns += 1
        quiet = (quiet + 1 if not ready else 0) if ready is not None else turns // 25
