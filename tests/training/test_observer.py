"""What a training says: warnings, advice, samples of the machine, and where its result goes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import clean_environment
from tleg.errors import ExportError, TlegError
from tleg.runs.run import RunFolder
from tleg.training.telemetry import DeviceSampler
from tleg.training.worker import advice, publish


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried…"), "out of memory on the GPU: give --accumulate 2"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory: give fewer --workers"),
        (TlegError("the loss became nan"), "the loss became nan"),
        (OSError(28, "No space left on device", "/x/y"), "No space left on device: /x/y"),
        (KeyError("weights"), "unexpected KeyError: 'weights'. The log has the place"),
    ],
)
def test_failures_say_what_to_change(error: Exception, words: str) -> None:
    assert words in advice(error)
    assert "\n" not in advice(error)


def test_the_machine_is_sampled_without_a_gpu() -> None:
    sample = DeviceSampler(torch.device("cpu")).sample()
    assert sample["devices"] == []
    assert 0 < sample["host"]["memory_used"] < sample["host"]["memory_total"]
    assert sample["host"]["load"] >= 0


def test_a_result_is_published_whole_and_once(tmp_path: Path) -> None:
    run, output = RunFolder(tmp_path / "run"), tmp_path / "out"
    folder = run.exports / "model"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "training.json"):
        (folder / name).write_text(name)
    publish(run, folder, output, overwrite=False)
    assert {path.name for path in output.iterdir()} == {"config.json", "model.safetensors", "training.json"}
    before = (output / "config.json").stat().st_ino
    # The run was killed after it had published: the same again is no conflict.
    publish(run, folder, output, overwrite=False)
    assert (output / "config.json").stat().st_ino == before
    # It was made longer: what it put there itself is replaced.
    (folder / "training.json").write_text("newer")
    publish(run, folder, output, overwrite=False)
    assert (output / "training.json").read_text() == "newer"
    # What somebody changed, or another run put there, is not.
    (output / "config.json").write_text("changed by hand")
    with pytest.raises(ExportError, match=rf"exists already.*The result is in {folder}"):
        publish(run, folder, output, overwrite=False)
    publish(run, folder, output, overwrite=True)
    assert (output / "config.json").read_text() == "config.json"
    (folder / "training.json").write_text("newest")
    with pytest.raises(ExportError, match="exists already"):
        publish(RunFolder(tmp_path), folder, output, overwrite=False)


def test_a_full_disk_does_not_end_what_speaks_into_a_log(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys\n"
        "from tleg.training.process import tolerate_full_disks\n"
        "tolerate_full_disks()\n"
        "print('lost', 'x' * 100000, flush=True)\n"
        "sys.stderr.write('seen\\n')\n"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, env=clean_environment()
        )
    assert (done.returncode, done.stderr) == (0, "seen\n")
    assert run_python(code).stdout.startswith("lost x")
