"""How the workbench begins: what it refuses before the screen starts, what its options mean, and what it never imports."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_learngene
from tests.tui.conftest import SMALL, Start, drive, screen_text
from tleg.paths import runs_folder
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg_tui.__main__ import is_remote, run, why_not

HEAVY = ("numpy", "torch", "timm", "onnx", "onnxruntime", "safetensors", "PIL", "tleg.training", "tleg.export.backend")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal, or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_stream_must_be_a_terminal(place: int) -> None:
    one, two, three = (Terminal(index != place) for index in range(3))
    reason = why_not(one, two, three, environment={"TERM": "xterm"})
    assert reason is not None
    assert reason.startswith(("standard input", "standard output", "standard error")[place])
    assert "`tleg preview`" in reason


@pytest.mark.parametrize(("term", "expected"), [("dumb", "dumb"), ("", "TERM is not set"), (None, "TERM is not set")])
def test_a_terminal_must_place_text(term: str | None, expected: str) -> None:
    one, two, three = (Terminal(True) for _ in range(3))
    reason = why_not(one, two, three, environment={} if term is None else {"TERM": term})
    assert reason is not None
    assert expected in reason
    assert why_not(one, two, three, environment={"TERM": "tmux-256color"}) is None


def test_ssh_is_noticed() -> None:
    assert is_remote({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"})
    assert not is_remote({})


def test_without_a_terminal_it_is_one_line_and_2(child_environment: Callable[..., dict[str, str]]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tleg_tui"],
        env=child_environment(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("tleg-tui: standard input is not a terminal")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.safetensors"], "there is no file nowhere.safetensors"),
        (
            ["no-such-run"],
            "there is no file, no shipped learngene and no run 'no-such-run'. Shipped: characters, fashion-mnist.\n",
        ),
        (["fashion-minst"], "shipped learngene and no run 'fashion-minst'. Did you mean 'fashion-mnist'?\n"),
        (["261124-learn-digits"], "run '261124-learn-digits'. Did you mean '261124-053016-learn-digits'?\n"),
        (["2611"], "'2611' could be 261124-053016-learn-digits, 261124-053015-learn-digits; type more of the id"),
        (["last", "--runs-dir", "none"], "there are no runs in none"),
        (["x" * 300], "x" * 300),
        (["folder/" + "x" * 300], "folder/" + "x" * 300),
        (["--refresh", "inf"], "--refresh inf is no time"),
        (["--refresh=-inf"], "--refresh -inf is no time"),
        (["--refresh", "nan", "--serve"], "--refresh nan is no time"),
        (["--theme", "tleg-dusk"], "there is no theme 'tleg-dusk'"),
        (["--theme", "tleg-drak"], "Did you mean 'tleg-dark'?"),
        (["folder"], "folder is neither a learngene nor a run"),
        (["empty.safetensors"], "empty.safetensors is not a usable learngene: it is empty"),
    ],
)
def test_what_cannot_be_opened_is_said_before_the_screen(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").mkdir()
    Path("empty.safetensors").touch()
    for second in (5, 6):
        monkeypatch.setattr("tleg.runs.launch.time.strftime", lambda *_, second=second: f"261124-05301{second}")
        create_run(runs_folder(), kind="learn", recipe={}, name="digits")
    monkeypatch.setattr("tleg_tui.__main__.why_not", lambda *_: None)
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert expected in said


@pytest.mark.parametrize("arguments", [[], ["--serve"]])
def test_a_working_folder_that_was_removed_is_said_before_the_screen(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr("tleg_tui.__main__.why_not", lambda *_: None)
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("tleg-tui: the folder that you are in was removed; go to one that exists")


@pytest.mark.parametrize("arguments", [["--refresh", "fast"], ["--nonsense"], ["a", "b"]])
def test_wrong_options_are_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "usage: tleg-tui" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--runs-dir", "--ascii", "--refresh", "--theme", "--serve", "--port", "PATH"):
        assert option in text
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tleg-tui 0.")


def test_the_whole_application_imports_nothing_heavy(run_python: Any, tmp_path: Path) -> None:
    """Every module of the workbench, and a look at every screen, in a fresh interpreter."""
    code = f"""
import asyncio, importlib, pkgutil, sys
from pathlib import Path
import tleg_tui
for module in pkgutil.walk_packages(tleg_tui.__path__, "tleg_tui."):
    importlib.import_module(module.name)
from tleg_tui.app import Workbench
async def look():
    app = Workbench(Path(sys.argv[1]), settings_folder=Path(sys.argv[1]))
    async with app.run_test(size=(80, 24)) as pilot:
        for key in ("down", "b", "r", "l", "f", "F", "o", "e", "question_mark"):
            await pilot.press(key)
            await pilot.pause()
            await pilot.press("escape")
            await pilot.pause()
asyncio.run(look())
print("LOADED", *sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = run_python(code, tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_the_first_paint_loads_one_screen_alone(run_python: Any, tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from tleg_tui.app import Workbench
async def look():
    app = Workbench(Path(sys.argv[1]), settings_folder=Path(sys.argv[1]))
    async with app.run_test(size=(80, 24)):
        pass
asyncio.run(look())
print(*sorted(name for name in sys.modules if name.startswith("tleg_tui.") and name.count(".") == 2))
print("tleg.recipes.recipes" in sys.modules, "typer" in sys.modules)
"""
    done = run_python(code, tmp_path)
    assert done.code == 0, done.stderr
    loaded, others = done.stdout.splitlines()[-2:]
    common = ("ascii", "bars", "colours", "cells", "learngenes", "lines", "screens", "typeahead", "wording")
    screen = ("budget", "depth_table", "frontier", "jobs", "model", "rows", "screen")
    allowed = {
        f"tleg_tui.{folder}.{name}" for folder, names in (("common", common), ("workbench", screen)) for name in names
    }
    assert set(loaded.split()) <= allowed
    assert others == "False False"


@drive
async def test_a_learngene_can_be_named(start: Start) -> None:
    make_learngene().save("gene.safetensors")
    async with start(SMALL, opened=Path("gene.safetensors")) as pilot:
        assert "gene.safetensors" in screen_text(pilot)
        assert str(Path("gene.safetensors").absolute()) in pilot.app.settings.learngenes  # type: ignore[attr-defined]


@drive
async def test_a_run_can_be_named_and_leaving_it_leads_to_the_workbench(start: Start, finished_runs: Path) -> None:
    (folder,) = (RunFolder(path) for path in finished_runs.iterdir())
    async with start(SMALL, run=folder) as pilot:
        await pilot.pause()
        assert type(pilot.app.screen).__name__ == "RunScreen"
        await pilot.press("escape")
        await pilot.pause()
        assert type(pilot.app.screen).__name__ == "WorkbenchScreen"
        assert str(finished_runs) in pilot.app.settings.runs_folders  # type: ignore[attr-defined]
