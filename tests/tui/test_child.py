"""Commands of `tleg` as child processes: what they say, how they fail, and that giving them up ends them."""

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tleg_tui import child
from tleg_tui.child import ChildResult, run_tleg


def run(*words: str) -> ChildResult:
    return asyncio.run(run_tleg(words))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_output_comes_line_by_line_and_as_a_document() -> None:
    lines: list[str] = []
    result = asyncio.run(run_tleg(["preview", "--depths", "1-2", "--json"], lines.append))
    assert result.code == 0
    assert lines == result.output.splitlines()
    assert [row["depth"] for row in result.document["depths"]] == [1, 2]


def test_an_error_comes_with_its_code_and_its_field() -> None:
    talk: list[str] = []
    result = asyncio.run(run_tleg(["inspect", "gone.safetensors"], on_talk=talk.append))
    assert result.code == 2
    error = result.error
    assert (error.message, error.code, error.field) == ("there is no file gone.safetensors.", "not-found", "file")
    assert len(talk) == 1
    assert result.document is None


@pytest.mark.parametrize(("code", "sentence"), [(-9, "it was ended by signal 9"), (3, "it ended with exit code 3")])
def test_silence_is_told_by_the_exit_code(code: int, sentence: str) -> None:
    assert str(ChildResult(code, "", "").error) == sentence


def stubborn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> Path:
    """A `tleg` that writes its process number and sleeps; `answer` is what it does on SIGTERM."""
    place = tmp_path / "started"
    script = tmp_path / "tleg.sh"
    script.write_text(
        f"#!/bin/sh\ntrap '{answer}' TERM\necho $$ > {place}.new; mv {place}.new {place}\nwhile :; do sleep 0.05; done\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr("tleg_tui.child.sys.executable", str(script))
    return place


async def started(place: Path) -> int:
    while not place.exists():
        await asyncio.sleep(0.02)
    return int(place.read_text())


@pytest.mark.parametrize("times", [1, 3])
def test_a_command_that_is_given_up_ends_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    place = stubborn(tmp_path, monkeypatch, f"sleep 0.3; touch {tmp_path}/tidied; exit 130")

    async def flow() -> int:
        task = asyncio.ensure_future(run_tleg(["anything"]))
        pid = await started(place)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await task
        return pid

    assert not alive(asyncio.run(flow()))
    assert (tmp_path / "tidied").exists()


def test_closing_the_loop_waits_for_a_command_that_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = stubborn(tmp_path, monkeypatch, f"sleep 0.3; touch {tmp_path}/tidied; exit 130")
    tasks: list[asyncio.Task[ChildResult]] = []

    async def flow() -> int:
        tasks.append(asyncio.create_task(run_tleg(["anything"])))
        return await started(place)

    assert not alive(asyncio.run(flow()))
    assert (tmp_path / "tidied").exists()
    assert tasks[0].cancelled()


@pytest.mark.parametrize("turns", range(6))
def test_a_command_can_be_given_up_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    stubborn(tmp_path, monkeypatch, "exit 130")
    begun: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            begun.append(self)

    monkeypatch.setattr("tleg_tui.child.subprocess.Popen", Popen)

    async def flow() -> None:
        task = asyncio.ensure_future(run_tleg(["anything"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 60)

    asyncio.run(flow())
    assert len(begun) == min(turns, 1)
    assert all(process.returncode is not None for process in begun)


def test_a_command_that_cannot_be_started_is_one_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg_tui.child.sys.executable", str(tmp_path / "nothing"))
    result = run("preview")
    assert (result.code, str(result.error)) == (1, "tleg could not be started: No such file or directory")


def test_a_listener_that_fails_ends_the_command() -> None:
    def fail(line: str) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError):
        asyncio.run(run_tleg(["preview", "--depths", "1-2"], fail))


def test_a_command_that_stays_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = stubborn(tmp_path, monkeypatch, ":")
    monkeypatch.setattr(child, "_PATIENCE_SECONDS", 0.3)

    async def flow() -> int:
        task = asyncio.ensure_future(run_tleg(["anything"]))
        pid = await started(place)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began > 0.2
        return pid

    assert not alive(asyncio.run(flow()))


def test_a_command_that_is_killed_from_outside_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = stubborn(tmp_path, monkeypatch, ":")

    async def flow() -> ChildResult:
        task = asyncio.ensure_future(run_tleg(["anything"]))
        os.kill(await started(place), signal.SIGKILL)
        return await task

    assert str(asyncio.run(flow()).error) == "it was ended by signal 9"
