"""Whether a terminal can show the workbench. Looked at before Textual is imported, which itself does not refuse."""

import os
import sys
from collections.abc import Mapping
from typing import TextIO

HEADLESS = "`tleg preview`, `tleg runs`, `tleg build` and `tleg --help` need none"


def why_not(
    stdin: TextIO = sys.stdin,
    stdout: TextIO = sys.stdout,
    stderr: TextIO = sys.stderr,
    environment: Mapping[str, str] = os.environ,
) -> str | None:
    """Return why the workbench cannot be shown here, as a sentence with what to do instead; None when it can."""
    for name, stream in (("standard input", stdin), ("standard output", stdout), ("standard error", stderr)):
        if stream is None or stream.closed or not stream.isatty():
            return f"{name} is not a terminal, and the workbench needs one; {HEADLESS}"
    if environment.get("TERM", "") in ("", "dumb"):
        kind = environment.get("TERM") or "of an unknown kind (TERM is not set)"
        return f"this terminal is {kind} and cannot place text; {HEADLESS}"
    return None


def is_remote(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the screen travels over SSH, where every byte counts."""
    return "SSH_CONNECTION" in environment or "SSH_TTY" in environment
