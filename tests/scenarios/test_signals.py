"""A command that is ended from outside leaves nothing half written."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("number", "codes"),
    # Python ends by SIGINT itself where the interrupt came in the middle of an import.
    [(signal.SIGINT, (130, -signal.SIGINT)), (signal.SIGTERM, (-signal.SIGTERM,)), (signal.SIGHUP, (-signal.SIGHUP,))],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_a_build_that_is_ended_leaves_nothing(
    tmp_path: Path, child_environment: Callable[..., dict[str, str]], number: signal.Signals, codes: tuple[int, ...]
) -> None:
    # Started by a shell in the background, this process is deaf to some of them, and its children would be.
    script = f"import signal; signal.signal({int(number)}, signal.SIG_DFL); signal.signal(2, signal.default_int_handler)\n"
    script += "from tleg.cli.app import main; main(['build', '--depth', '8', '--export', 'onnx'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=child_environment(), stderr=subprocess.PIPE
    ) as process:
        end = time.monotonic() + 120
        # Half written: it is verified under a temporary name.
        while not list(tmp_path.glob("exports/.*.tmp")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate()[1].decode()
    assert process.returncode in codes
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_ignored_stays_ignored(tmp_path: Path, child_environment: Callable[..., dict[str, str]]) -> None:
    """As under nohup."""
    script = "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    script += "from tleg.cli import preview; from tleg.cli.app import main\n"
    script += (
        "kept = preview.__dict__.copy(); os.kill(os.getpid(), signal.SIGHUP); main(['preview', '--depths', '1', '--json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=child_environment(), capture_output=True, check=False
    )
    assert done.returncode == 0
