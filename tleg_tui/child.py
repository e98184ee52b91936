"""Heavy work is a child process: a command of `tleg` whose output is read while it runs."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

_PATIENCE_SECONDS: Final = 5.0
_LONGEST_LINE: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a command ended: its exit code, its standard output, and the last line of its talk, without 'tleg: '."""

    code: int
    output: str
    words: str

    @property
    def document(self) -> Any:
        """The JSON document on standard output; None when there is none."""
        with suppress(ValueError):
            return json.loads(self.output)
        return None

    @property
    def sentence(self) -> str:
        """What went wrong, as a sentence."""
        if self.words:
            return self.words
        return f"it was ended by signal {-self.code}" if self.code < 0 else f"it ended with exit code {self.code}"


async def run_tleg(
    words: Sequence[str], on_line: Callable[[str], None] | None = None, on_talk: Callable[[str], None] | None = None
) -> ChildResult:
    """Run `tleg WORDS` and return how it ended. Cancelling interrupts it, as Ctrl-C does, and kills it if it stays.

    A cancelled call returns when the command is gone, however often it is cancelled: leaving the workbench cancels all that
    is under way, and a command that is not waited for would be killed half way, with what it has half written.
    `on_line` gets each line of standard output as it comes, `on_talk` each line of standard error.
    """
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "tleg.cli",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        limit=_LONGEST_LINE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    output: list[str] = []
    talk: list[str] = []
    try:
        await asyncio.gather(_read(process.stdout, output, on_line), _read(process.stderr, talk, on_talk))
        code = await process.wait()
    except asyncio.CancelledError:
        await _end(process)
        raise
    last = next((line for line in reversed(talk) if line.strip()), "")
    return ChildResult(code, "\n".join(output), last.removeprefix("tleg: "))


async def _read(stream: asyncio.StreamReader, lines: list[str], tell: Callable[[str], None] | None) -> None:
    async for raw in stream:
        line = raw.decode("utf-8", "replace").rstrip("\n")
        lines.append(line)
        if tell is not None:
            tell(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Interrupt a process, and kill it if that does not end it in time. Cancelling does not shorten this."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(number)
        end = loop.time() + _PATIENCE_SECONDS
        while (left := end - loop.time()) > 0:
            try:
                await asyncio.wait_for(_drain(process), left)
            except TimeoutError:
                break
            except asyncio.CancelledError:
                continue
            else:
                return


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Wait for a process, and for the ends of its pipes."""
    assert process.stdout is not None
    assert process.stderr is not None
    await asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
