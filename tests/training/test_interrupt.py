"""Ctrl-C during training: exit code 130, one line, nothing written, no process left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import clean_environment


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_leaves_nothing(workers: int, digits_folder: Path, tmp_path: Path) -> None:
    arguments = [
        "--model=resnet10t",
        "--image-size=8",
        "--model-arg=in_chans=1",
        "--model-arg=channels=[8,8,8,8]",
        "--model-arg=stem_width=8",
    ]
    options = ["--epochs=1000", "--batch-size=32", f"--workers={workers}", "--device=cpu", "--output", str(tmp_path / "out")]
    command = [sys.executable, "-m", "tleg.cli", "finetune", *arguments, "--data", str(digits_folder), *options]
    environment = {**clean_environment(), "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "step 1/" in line:
            break
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to the workers as well.
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    lines = [line for line in stderr.splitlines() if not line.startswith("fine-tuning:")]
    assert lines == ["tleg: interrupted"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
