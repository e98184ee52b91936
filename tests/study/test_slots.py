"""Slots of this machine: each training has its part of the cores and, where there are several, a GPU of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.study.documents import document
from tleg.errors import InputError
from tleg.recipes.recipes import TrainingRecipe
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec
from tleg.runs.state import RunState, write_state
from tleg.study import slots
from tleg.study.file import make_study
from tleg.study.plan import check_grid
from tleg.study.slots import Here, count_devices
from tleg.threads import available_cores


def recipe(**options: Any) -> TrainingRecipe:
    values = document(arms={"free": {"kind": "train", **options}}, depths=[2])
    return check_grid(make_study(values))[0].recipe


def made(place: Here, runs_dir: Path, working: list[RunFolder], **options: Any) -> str:
    """The device of a training that starts now, which is at work from then on."""
    folder = place.make(recipe(**options), runs_dir, working)
    working.append(folder)
    return str(read_spec(folder).recipe["device"])


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "count_devices", lambda: 2)


@pytest.mark.usefixtures("two")
def test_each_training_has_the_gpu_with_the_fewest(runs_dir: Path) -> None:
    place, working = Here(4), list[RunFolder]()
    assert [made(place, runs_dir, working, device="auto") for _ in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    del working[2], working[0]
    assert made(place, runs_dir, working, device="cuda") == "cuda:0"
    assert "2 GPUs; 4 trainings at a time" in place.machine


@pytest.mark.usefixtures("two")
def test_what_the_file_says_stays(runs_dir: Path) -> None:
    place, working = Here(4), list[RunFolder]()
    assert made(place, runs_dir, working, device="cpu") == "cpu"
    assert made(place, runs_dir, working, device="cuda:1") == "cuda:1"
    assert made(place, runs_dir, working, device="cuda", devices=2) == "cuda"
    # Those of one training alone count where they are.
    assert made(place, runs_dir, working) == "cuda:0"
    assert made(place, runs_dir, working) == "cuda:0"
    # The other of which had one already.
    assert made(place, runs_dir, working) == "cuda:1"


@pytest.mark.usefixtures("two")
def test_a_training_that_goes_on_takes_what_is_free_by_then(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, Any, Any]] = []
    monkeypatch.setattr(slots, "resume_training", lambda folder, *given: started.append((folder.id, *given)))
    place, working = Here(2), list[RunFolder]()
    made(place, runs_dir, working)
    made(place, runs_dir, working)
    stopped = working.pop(0)
    write_state(stopped, RunState(state="stopped"))
    made(place, runs_dir, working)
    assert read_spec(working[1]).recipe["device"] == "cuda:0"
    place.resume(stopped, (), working[:1])
    place.resume(stopped, (), working[1:])
    assert started == [(stopped.id, {"device": "cuda:0"}, "here"), (stopped.id, {"device": "cuda:1"}, "here")]


@pytest.mark.parametrize(("count", "devices"), [(1, 8), (4, 1), (4, 0)])
def test_with_one_slot_or_one_device_nothing_changes(runs_dir: Path, count: int, devices: int) -> None:
    place = Here(count, devices)
    folder = place.make(recipe(), runs_dir, [])
    assert read_spec(folder).recipe["device"] == "auto"
    assert read_spec(folder).recipe["threads"] == str(max(1, available_cores() // count))
    assert "GPU" not in place.machine


def test_devices_are_counted_for_several_slots_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "count_devices", lambda: pytest.fail("counted"))
    assert Here(1).devices == 0
    with pytest.raises(InputError, match="at least 1 slot, not 0") as caught:
        Here(0)
    assert caught.value.field == "slots"


def test_auto_is_a_slot_for_each_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tleg

    file = tmp_path / "study.toml"
    file.write_text('depths = [2]\n[data.d]\ndata = "digits"\n[arms.a]\nkind = "train"\nmodel = "vit_tiny_patch16_224"\n')
    seen = []
    monkeypatch.setattr("tleg.study.schedule.Scheduler.train", lambda self, wait: seen.append(self._place))
    for count in (0, 3):
        monkeypatch.setattr(slots, "count_devices", lambda count=count: count)
        tleg.run_study(file, slots="auto")
    assert seen == [Here(1, 0), Here(3, 3)]


def test_without_a_driver_torch_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from tleg.study import slots; slots._DRIVERS = ('/dev/nothing',); "
        "assert slots.count_devices() == 0; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_devices() == 0
