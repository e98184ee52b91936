"""Heavy work is a child process: a command of `tleg` whose output is read while it runs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Final

from tleg.errors import TlegError, describe_os_error, read_error
from tleg.threads import launched_environment

# A long call of torch or ONNX Runtime answers a signal only when it is over.
_PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.02
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
    def error(self) -> TlegError:
        """What went wrong: as the command says it, or how it ended where it says nothing."""
        if self.words:
            return read_error(self.words) or TlegError(self.words)
        return TlegError(f"it was ended by signal {-self.code}" if self.code < 0 else f"it ended with exit code {self.code}")


async def run_tleg(
    words: Sequence[str], on_line: Callable[[str], None] | None = None, on_talk: Callable[[str], None] | None = None
) -> ChildResult:
    """Run `tleg WORDS` and return how it ended. Cancelling terminates it, and kills it if it stays.

    A cancelled call returns when the command is gone, however often it is cancelled: leaving the workbench cancels all that
    is under way, and a command that is not waited for would be killed half way, with what it has half written.
    `on_line` gets each line of standard output as it comes, `on_talk` each line of standard error. A command that cannot be
    started is one that failed.
    """
    environment = {
        **launched_environment(os.environ),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "TLEG_ERRORS": "json",
    }
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # asyncio's own subprocess is never done when it is cancelled while it starts (its pending calls are never made).
    try:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tleg.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        return ChildResult(1, "", f"tleg could not be started: {describe_os_error(error)}")
    assert process.stdout is not None
    assert process.stderr is not None
    output: list[str] = []
    talk: list[str] = []
    try:
        await asyncio.gather(_read(process.stdout, output, on_line), _read(process.stderr, talk, on_talk))
        while process.poll() is None:
            await asyncio.sleep(_LOOK_SECONDS)
    except BaseException:
        await _end(process)
        raise
    finally:
        process.stdout.close()
        process.stderr.close()
    last = next((line for line in reversed(talk) if line.strip()), "")
    return ChildResult(process.returncode, "\n".join(output), last.removeprefix("tleg: "))


async def _read(pipe: IO[bytes], lines: list[str], tell: Callable[[str], None] | None) -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async for raw in reader:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            lines.append(line)
            if tell is not None:
                tell(line)
    finally:
        transport.close()


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process, and kill it if that does not end it in time. Cancelling does not shorten this."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        end = loop.time() + _PATIENCE_SECONDS
        while process.poll() is None and loop.time() < end:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(_LOOK_SECONDS)
        if process.returncode is not None:
            return
