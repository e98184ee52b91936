"""A terminal of our own: a pseudo-terminal with a program in it, keys as bytes in one write, and the screen it shows."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rich.cells import cell_len

# Keys as terminals send them. Escape as the kitty protocol writes it: alone it would join the letter after it.
KEYS: Final[Mapping[str, bytes]] = {
    "up": b"\x1b[A",
    "down": b"\x1b[B",
    "right": b"\x1b[C",
    "left": b"\x1b[D",
    "home": b"\x1b[H",
    "end": b"\x1b[F",
    "pagedown": b"\x1b[6~",
    "delete": b"\x1b[3~",
    "escape": b"\x1b[27u",
    "enter": b"\r",
    "tab": b"\t",
    "space": b" ",
    "f1": b"\x1bOP",
    "f2": b"\x1bOQ",
    "f3": b"\x1bOR",
    "f4": b"\x1bOS",
    "f5": b"\x1b[15~",
    "f6": b"\x1b[17~",
    "f7": b"\x1b[18~",
    "f9": b"\x1b[20~",
    "ctrl+c": b"\x03",
    "ctrl+p": b"\x10",
    "ctrl+q": b"\x11",
}
_SEQUENCE: Final = re.compile(
    rb"\x1b\[(?P<parameters>[0-9;:<=>?]*)(?P<middle>[ -/]*)(?P<final>[@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^\[\]]"
)


def paste(text: str) -> bytes:
    """A text as a terminal pastes it."""
    return b"\x1b[200~" + text.encode() + b"\x1b[201~"


def click(column: int, line: int) -> bytes:
    """The mouse pressed and let go over a cell, counted from one."""
    return f"\x1b[<0;{column};{line}M\x1b[<0;{column};{line}m".encode()


class Screen:
    """What a terminal shows of what a program wrote: text at places, which is all that the workbench writes."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._cells = [[" "] * width for _ in range(height)]
        self._x = self._y = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Write."""
        data = self._rest + data
        place = 0
        while place < len(data):
            start = data.find(b"\x1b", place)
            if start != place:
                end = len(data) if start < 0 else start
                piece = data[place:end]
                # A letter may be cut by the end of what was read.
                while start < 0 and piece and not _is_text(piece):
                    piece = piece[:-1]
                self._write(piece.decode("utf-8", "replace"))
                place += len(piece)
                if start < 0:
                    break
                continue
            match = _SEQUENCE.match(data, place)
            if match is None:
                break  # Its end is still to come.
            if match["final"] == b"H" and not match["middle"]:
                line, _, column = (match["parameters"] or b"1;1").partition(b";")
                self._y, self._x = int(line or 1) - 1, int(column or 1) - 1
            elif match["final"] == b"J":
                self._cells = [[" "] * self.width for _ in range(self.height)]
            place = match.end()
        self._rest = data[place:]

    def _write(self, text: str) -> None:
        for letter in text:
            if letter == "\r":
                self._x = 0
            elif letter == "\n":
                self._y += 1
            elif letter >= " " and 0 <= self._y < self.height:
                width = cell_len(letter)
                if width and self._x < self.width:
                    self._cells[self._y][self._x] = letter
                    for more in range(1, width):
                        if self._x + more < self.width:
                            self._cells[self._y][self._x + more] = ""
                self._x += width

    @property
    def text(self) -> str:
        """The lines."""
        return "\n".join("".join(line).rstrip() for line in self._cells)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason != "unexpected end of data"
    return True


class Terminal:
    """A program in a pseudo-terminal."""

    def __init__(
        self, words: list[str], environment: Mapping[str, str], folder: Path, size: tuple[int, int] = (80, 24)
    ) -> None:
        self.folder = folder
        self.screen = Screen(*size)
        own, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self._own = own
        self._process = subprocess.Popen(
            words, stdin=other, stdout=other, stderr=other, env=dict(environment), cwd=folder, start_new_session=True
        )
        os.close(other)

    def write(self, data: bytes) -> None:
        """Type, in one write."""
        assert os.write(self._own, data) == len(data)

    def read(self, seconds: float) -> bool:
        """Take in what is written within some time; whether anything was."""
        found = False
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._own], [], [], left)[0]:
                break
            try:
                data = os.read(self._own, 1 << 16)
            except OSError:  # It left.
                break
            found = True
            self.screen.feed(data)
        return found

    def until(self, condition: Callable[[str], bool], seconds: float = 120.0) -> str:
        """Wait until the screen fulfils a condition, and return it."""
        end = time.monotonic() + seconds
        while not condition(self.screen.text):
            assert time.monotonic() < end, f"it did not come to that:\n{self.screen.text}"
            self.read(0.05)
        return self.screen.text

    def wait(self, seconds: float = 120.0) -> int:
        """Wait until the program has left, and return its exit code."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < end, f"it does not leave:\n{self.screen.text}"
            self.read(0.05)
        return int(self._process.returncode)

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=60)
        os.close(self._own)


def workbench(*words: str) -> list[str]:
    """The command line of the workbench."""
    return [sys.executable, "-W", "ignore", "-m", "tleg_tui", *words]
