"""The installed `tleg-tui` in a real terminal: keys in, screen out, the terminal killed in the middle, and back again."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tleg.runs.run import RunFolder
from tleg.runs.state import observe

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")


class Tmux:
    """A tmux server of its own with one pane of 80x24.

    A server that loses its last session leaves a moment later, and a session opened in that moment is lost with it:
    so every session gets a server, and a socket, that nobody used before.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._opened = 0
        self._environment = environment

    @property
    def _socket(self) -> Path:
        return self._folder / str(self._opened)

    def call(self, *words: str, check: bool = True) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(self._socket), *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def open(self, command: str) -> None:
        self.kill()
        self._opened += 1
        self.call("new-session", "-d", "-x", "80", "-y", "24", command)

    def press(self, *keys: str) -> None:
        self.call("send-keys", *keys)

    def screen(self) -> str:
        return self.call("capture-pane", "-p")

    def wait_for(self, text: str, seconds: float = 120.0) -> str:
        end = time.monotonic() + seconds
        while text not in (shown := self.call("capture-pane", "-p", check=False)):
            assert time.monotonic() < end, f"'{text}' did not appear:\n{shown}"
            time.sleep(0.1)
        return shown

    def resize(self, width: int, height: int) -> None:
        self.call("resize-window", "-x", str(width), "-y", str(height))

    def kill(self) -> None:
        self.call("kill-server", check=False)


@pytest.fixture
def tmux(tmp_path: Path, child_environment: Callable[..., dict[str, str]], runs_dir: Path) -> Iterator[Tmux]:
    environment = child_environment(
        TLEG_SETTINGS=str(tmp_path / "settings"), TLEG_RUNS=str(runs_dir), PYTHONWARNINGS="ignore", LC_ALL="C.UTF-8"
    )
    environment |= {"COLUMNS": "80", "LINES": "24"}  # As some shells export them; the terminal's own size counts.
    for name in ("TMUX", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY"):
        environment.pop(name, None)
    # A socket's path may have about a hundred letters, which the folder of a test can exceed.
    with tempfile.TemporaryDirectory(prefix="tleg-test-") as folder:
        terminal = Tmux(Path(folder), environment)
        yield terminal
        terminal.kill()


def wait_for_state(folder: RunFolder, state: str, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while observe(folder).state != state:
        assert time.monotonic() < end
        time.sleep(0.1)


def installed() -> str:
    """The console script, beside the interpreter."""
    script = Path(sys.executable).with_name("tleg-tui")
    assert script.exists()
    return str(script)


def test_keys_screen_and_resize(tmux: Tmux) -> None:
    tmux.open(f"{installed()}; echo LEFT WITH $?; sleep 60")
    shown = tmux.wait_for("every layer is")
    assert "fashion-mnist" in shown
    assert shown.rstrip().endswith("? help")
    tmux.press("j", "j")
    tmux.wait_for("Depth 10 ─")
    tmux.press("/", *"300k")
    tmux.wait_for("fits: 1–5, deepest 5")
    tmux.press("Escape")
    tmux.wait_for("? help")  # A resize may overtake a key that waits for the table; a small terminal has no use for it.
    tmux.resize(140, 40)
    tmux.wait_for("SHA-256")
    tmux.resize(40, 10)
    tmux.wait_for("too small")
    tmux.resize(80, 24)
    tmux.wait_for("Depth 5 ─")
    tmux.press("?")
    tmux.wait_for("Where you are")
    tmux.press("Escape")
    tmux.wait_for("θ0 ├")
    tmux.press("C-c")  # Help to quit, and no more.
    tmux.wait_for("ctrl+q")
    tmux.press("q")
    tmux.wait_for("LEFT WITH 0")


def test_the_terminal_is_killed_and_the_run_goes_on(tmux: Tmux, start_run: Callable[..., RunFolder]) -> None:
    folder = start_run(epochs=4000, checkpoint_steps=200)
    wait_for_state(folder, "running")
    script = Path(sys.executable).with_name("tleg")
    tmux.open(f"{script} attach last")
    tmux.wait_for("img/s")
    tmux.kill()  # With everything that ran in it, as when a connection is lost.
    time.sleep(0.5)
    before = observe(folder)
    assert before.state == "running"
    tmux.open(f"{script} attach last; echo LEFT WITH $?; sleep 60")
    tmux.wait_for("img/s")
    tmux.press("q")
    shown = tmux.wait_for("LEFT WITH 0")
    assert f"training goes on: tleg attach {folder.id}" in shown.replace("\n", "")
    after = observe(folder)
    assert after.state == "running"
    assert (after.step or 0) > (before.step or 0)
    tmux.open(f"{script} attach last; echo LEFT WITH $?; sleep 60")
    tmux.wait_for("img/s")
    tmux.press("s")
    tmux.wait_for("stopped")
    wait_for_state(folder, "stopped")


def test_a_shell_takes_it_aside_and_brings_it_back(tmux: Tmux) -> None:
    tmux.open("bash --norc")
    tmux.press(f"{installed()}", "Enter")
    tmux.wait_for("every layer is")
    tmux.press("j")
    tmux.wait_for("Depth 9 ─")
    tmux.press("C-z")
    tmux.wait_for("Stopped")
    tmux.press("fg", "Enter")
    tmux.wait_for("Depth 9 ─")
    tmux.press("j")
    tmux.wait_for("Depth 10 ─")
    tmux.press("q")
