"""Make the pictures of README.md and docs/cli.md from the real commands: `python docs/make_pictures.py`."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ASSETS = Path(__file__).resolve().parent.parent / "assets"
_PREVIEW = ["preview", "--depths", "1-16", "--max-params", "500k"]
COMMANDS = {"preview": _PREVIEW, "plot": [*_PREVIEW, "--plot"]}
WIDTH, HEIGHT = 80, 24


def run_in_terminal(arguments: list[str]) -> str:
    """Return what a command prints to a terminal of 80 columns, escape codes and all."""
    outer, inner = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "LINES": str(HEIGHT), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "tleg.cli", *arguments]
    child = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    chunks = []
    try:
        while chunk := os.read(outer, 65536):
            chunks.append(chunk)
    except OSError:  # Linux ends a terminal whose other side has gone with an error.
        pass
    if child.wait() != 0:
        sys.exit(f"tleg {' '.join(arguments)} failed")
    return b"".join(chunks).decode().replace("\r\n", "\n")


def main() -> None:
    """Write one SVG for each command."""
    for name, arguments in COMMANDS.items():
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        console.print(Text.assemble(("$ ", "bold green"), f"tleg {' '.join(arguments)}"))
        console.print(Text.from_ansi(run_in_terminal(arguments)))
        picture = console.export_svg(title="tleg", theme=MONOKAI, unique_id="tleg")
        # Some renderers drop spaces at the start of a text, and with them the alignment of columns.
        (ASSETS / f"{name}.svg").write_text(picture.replace("<text ", '<text xml:space="preserve" '))
        print(ASSETS / f"{name}.svg")


if __name__ == "__main__":
    main()
