"""What nobody foresaw: a sentence and a file instead of a traceback, and nothing of it for what is void."""

import asyncio
from functools import partialmethod
from pathlib import Path

import pytest
from textual.app import ScreenStackError
from textual.css.query import NoMatches
from textual.widget import MountError
from textual.worker import WorkerFailed

from tests.tui.conftest import Start
from tleg.text import printable
from tleg_tui.__main__ import run
from tleg_tui.app import Workbench, is_void


def fail(word: str) -> None:
    raise KeyError(word)


def test_an_unforeseen_error_is_a_sentence_and_a_file(start: Start, tmp_path: Path) -> None:
    apps: list[Workbench] = []

    async def check() -> None:
        async with start() as pilot:
            assert isinstance(pilot.app, Workbench)
            apps.append(pilot.app)
            for word in ("gone", "a consequence"):
                pilot.app.call_later(fail, word)
            await asyncio.sleep(0.2)

    with pytest.raises(KeyError, match="gone"):  # As tests are told of it.
        asyncio.run(check())
    file = tmp_path / "settings" / "error.log"
    assert apps[0].last_words == f"tleg-tui: unexpected KeyError: 'gone' ({file} says where)"
    assert apps[0].return_code == 1
    assert apps[0]._exit_renderables == []
    assert file.read_text().startswith("Traceback")


def test_it_is_said_when_the_terminal_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("TLEG_SETTINGS", str(blocked / "settings"))
    monkeypatch.setenv("TEXTUAL_DRIVER", "none is asked for")
    monkeypatch.setattr(Workbench, "run", partialmethod(Workbench.run, headless=True, size=(80, 24)))

    def look(self: Workbench) -> None:
        raise LookupError("no\x1b[31m such thing")

    monkeypatch.setattr(Workbench, "look_at_runs", look)
    assert run(["--runs-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"tleg-tui: unexpected LookupError: {printable('no' + chr(27))}[31m such thing\n"


@pytest.mark.parametrize("error", [NoMatches("a"), MountError("b"), ScreenStackError("c"), WorkerFailed(NoMatches("d"))])
def test_what_is_wanted_of_widgets_that_are_gone_is_void_when_one_leaves(start: Start, error: Exception) -> None:
    async def check(leaving: bool) -> None:
        async with start() as pilot:
            if leaving:
                pilot.app.exit()
            pilot.app._handle_exception(error)

    asyncio.run(check(leaving=True))
    with pytest.raises(type(error)):
        asyncio.run(check(leaving=False))


def test_other_errors_are_never_void() -> None:
    assert not is_void(ValueError())
    assert not is_void(WorkerFailed(ValueError()))
