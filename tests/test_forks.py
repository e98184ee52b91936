"""Processes that tests fork instead of starting them are as real as others."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forks as forks_module
from tests.forks import ForkServer, forking
from tleg.runs.detached import Detached
from tleg.versions import __version__

pytestmark = [pytest.mark.usefixtures("forks"), pytest.mark.skipif(sys.platform != "linux", reason="Linux alone forks here")]

TLEG = [sys.executable, "-W", "ignore", "-m", "tleg.cli"]


def command_line(pid: int) -> str:
    """The words that a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def test_it_runs_the_command_in_its_folder_and_environment(tmp_path: Path) -> None:
    environment = {**os.environ, "TLEG_ERRORS": "json"}
    words = [*TLEG, "preview", "nowhere.safetensors"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere.safetensors" in json.loads(done.stderr)["message"]
    assert os.environ.get("TLEG_ERRORS") is None
    done = subprocess.run([*TLEG, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"tleg {__version__}\n")


def test_it_may_be_asked_for_twice(fork_server: ForkServer | None) -> None:
    with forking(fork_server):
        done = subprocess.run([*TLEG, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"tleg {__version__}\n"


def test_it_is_a_child_with_a_session_that_can_be_killed(tmp_path: Path) -> None:
    process = Detached(TLEG, tmp_path / "log", tmp_path)
    assert "tests.fork_server" in command_line(process.pid)
    assert os.getsid(process.pid) == process.pid
    assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid())
    assert Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path.resolve()
    os.kill(process.pid, signal.SIGKILL)
    assert process._process.wait(60) == -signal.SIGKILL
    process.close()


def test_an_answer_that_was_not_awaited_is_not_taken_for_the_next_one(
    fork_server: ForkServer | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fork_server is not None

    def interrupted(line: socket.socket) -> None:
        raise KeyboardInterrupt

    subprocess.run([*TLEG, "--version"], capture_output=True, check=True)
    monkeypatch.setattr(forks_module, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        subprocess.run([*TLEG, "--version"], capture_output=True, check=True)
    monkeypatch.undo()
    process = Detached(TLEG, tmp_path / "log", tmp_path)
    assert Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path.resolve()
    process.close()
    process._process.wait(60)


@pytest.mark.parametrize("go", [True, False])
def test_it_waits_until_it_is_let_go(tmp_path: Path, go: bool) -> None:
    process = Detached([*TLEG, "--version"], tmp_path / "log", tmp_path)
    os.kill(process.pid, signal.SIGHUP)
    if go:
        process.go()
    process.close()
    assert process._process.wait(60) == (0 if go else 1)
    assert (tmp_path / "log").read_text() == (f"tleg {__version__}\n" if go else "")


def test_it_leaves_nothing_open(tmp_path: Path) -> None:
    process = Detached(TLEG, tmp_path / "log", tmp_path)
    assert {int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir()} == {0, 1, 2}
    process.close()
    process._process.wait(60)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([sys.executable, "-c", "input()"], {}),
        ([sys.executable, "-m", "this"], {}),
        ([sys.executable, "-W", "error", "-m", "tleg.training"], {}),
        ([sys.executable, "-m", "tleg.training"], {"OMP_NUM_THREADS": "2"}),
        ([sys.executable, "-m", "tleg.training"], {"PYTHONPATH": "/elsewhere"}),
        ([sys.executable, "-m", "tleg.training"], {"LC_ALL": "C"}),
    ],
)
def test_what_matters_before_the_program_starts_an_interpreter(words: list[str], changes: dict[str, str]) -> None:
    environment = {**os.environ, **changes}
    with subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert "tests.fork_server" not in command_line(started.pid)
        started.kill()
