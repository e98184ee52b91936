"""What a training says: warnings, advice, samples of the machine, and where its result goes."""

import math
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
from tleg.runs.scalars import StepReport
from tleg.training.observer import CurveWatch
from tleg.training.telemetry import DeviceSampler
from tleg.training.worker import advice, publish


def report(step: int, loss: float, wait: float = 0.0, epoch: int = 1) -> StepReport:
    return StepReport(step=step, steps=1000, epoch=epoch, epochs=10, loss=loss, data_wait=wait)


def test_a_spike_is_noticed_once_an_epoch() -> None:
    watch = CurveWatch()
    quiet = [found for step in range(60) for found in watch.look(report(step, 2 + 0.05 * math.sin(step)))]
    assert quiet == []
    ((code, text),) = watch.look(report(61, 9.0))
    assert code == "spike"
    assert "the loss jumped to 9 from about 2" in text
    for step in range(62, 100):
        watch.look(report(step, 2.0))
    assert watch.look(report(101, 9.0)) == []
    for step in range(102, 160):
        watch.look(report(step, 2.0, epoch=2))
    assert [code for code, _ in watch.look(report(161, 9.0, epoch=2))] == ["spike"]


def test_waiting_for_images_is_noticed() -> None:
    watch = CurveWatch()
    found = [each for step in range(40) for each in watch.look(report(step, 2.0, wait=0.8))]
    assert found == [("starved", "the model waits for images 80 % of the time; try more --workers")]
    assert [each for step in range(40) for each in CurveWatch().look(report(step, 2.0, wait=0.8 if step % 5 else 0.0))] == []


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
