"""Starting a process that outlives the terminal and whoever started it."""

import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tleg.threads import launched_environment

# Waits for a line, so that a file can name the process before it does anything; without the line it ends. A hang-up of
# the terminal is ignored, by the program that replaces the shell as well.
_GATE: Final = "trap '' HUP; IFS= read -r line || exit 1; exec \"$@\" </dev/null"


class Detached:
    """A process in a session of its own, without input, that adds its output to a log and waits until it is let go.

    Where `go` is not called before `close`, it ends. Raises OSError.
    """

    def __init__(self, command: Sequence[str], log_file: Path, folder: Path) -> None:
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GATE, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(),
                start_new_session=True,
                bufsize=0,
            )
        # Collects the process when it ends, so that it does not stay behind as a zombie of a viewer.
        threading.Thread(target=self._process.wait, name=f"wait-{self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its number, which stays the same when it begins."""
        return self._process.pid

    def go(self) -> None:
        """Let it begin. Raises OSError."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    def close(self) -> None:
        """Give up the line to it."""
        assert self._process.stdin is not None
        self._process.stdin.close()


def _environment() -> dict[str, str]:
    # Whoever starts a process may be one of several itself; what is started is not one of those.
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    # How many threads it computes with, it decides.
    environment = launched_environment(environment)
    # A queue.py in the working folder must not be taken for the standard library's.
    environment.setdefault("PYTHONSAFEPATH", "1")
    return environment
