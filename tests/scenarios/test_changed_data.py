"""A run that goes on with other data or models than it began with: noticed, named, refused or accepted."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.scenarios.test_refusals import contents
from tests.scenarios.test_run import LEARN, finish, start
from tests.training.conftest import ARGUMENTS, VIT, Recorder, first_images, learn_job
from tleg.data.datasets import Data
from tleg.data.fashion_mnist import ArrayImages
from tleg.data.fingerprint import list_data, look_again
from tleg.data.open import open_data
from tleg.data.sampler import ShuffledBatches
from tleg.recipes.io import from_values, to_values
from tleg.recipes.training import Recipe
from tleg.runs.events import EventReader
from tleg.runs.inputs import RunInputs, compare_data, read_inputs, write_inputs
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.spec import read_spec, write_spec
from tleg.runs.state import RunState, observe, write_state
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE
from tleg.training.job import settle_inputs
from tleg.training.learn import learn
from tleg.training.observer import TrainingStoppedError

pytestmark = pytest.mark.usefixtures("forks")

Change = Callable[[Path], Any]


@pytest.fixture
def data(tmp_path: Path, digits_folder: Path) -> Path:
    """A copy of the digits that may be changed: 200 training and 50 validation images."""
    return Path(shutil.copytree(digits_folder, tmp_path / "data"))


def rename(old: str, new: str) -> Change:
    def change(data: Path) -> None:
        for split in ("train", "val"):
            (data / split / old).rename(data / split / new)

    return change


def add(data: Path, count: int = 3, name: str = "1") -> None:
    for index in range(count):
        Image.new("L", (8, 8), 9 * index).save(data / "train" / name / f"more{index}.png")


def remove(data: Path) -> None:
    for split in ("train", "val"):
        shutil.rmtree(data / split / "9")


def exchange(data: Path) -> None:
    rename("3", "x")(data)
    rename("4", "3")(data)
    rename("x", "4")(data)


CHANGES: Mapping[str, tuple[Change, str]] = {
    "renamed": (rename("3", "three"), "the class '3' is called 'three' now"),
    "exchanged": (exchange, "the images of '3', '4' are those of another class"),
    "added": (lambda data: shutil.copytree(data / "train/1", data / "train/new"), "the class 'new' is new"),
    "removed": (remove, "the class '9' is gone"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_classes_are_told_from_a_listing(data: Path, name: str) -> None:
    before = list_data(open_data(str(data)))
    change, words = CHANGES[name]
    change(data)
    assert [each.text for each in compare_data(before, list_data(open_data(str(data))))] == [words]


def test_a_folder_that_moved_or_is_reached_by_a_link_is_the_same(data: Path, tmp_path: Path) -> None:
    before = open_data(str(data))
    listed = list_data(before)
    data.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to("elsewhere")
    assert list_data(open_data(str(tmp_path / "link"))) == listed


def test_an_image_that_was_replaced_is_noticed_by_its_size(data: Path) -> None:
    before = list_data(open_data(str(data)))
    file = next((data / "val" / "5").iterdir())
    Image.new("L", (30, 30), 5).save(file)
    (change,) = compare_data(before, list_data(open_data(str(data))))
    assert change.text == "as many validation images, but others in '5'"


def test_pixels_in_memory_count(digits: Data) -> None:
    train = digits.train
    assert isinstance(train, ArrayImages)
    images = train.images.copy()
    images[0, 0, 0] ^= 1
    (change,) = compare_data(list_data(digits), list_data(replace(digits, train=ArrayImages(images, train.labels))))
    assert change.text == "as many training images, but others"


@pytest.fixture
def run(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was stopped after 7 of 15 steps, as far as its folder says, with the note that its trainer made."""
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    recipe = from_values("learn", {**LEARN, "data": str(data), "epochs": 3})
    folder = create_run(tmp_path / "runs", kind="learn", recipe=to_values(recipe))
    write_state(folder, RunState(state="stopped", step=7, steps=15, epochs=3))
    settle_inputs(folder, recipe, open_data(str(data)), SINGLE, Recorder())
    (folder.checkpoints / "step-000000007").mkdir()
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_other_classes_are_refused_whatever_the_user_accepts(
    run: RunFolder, data: Path, name: str, run_cli: Callable[..., Any]
) -> None:
    change, words = CHANGES[name]
    change(data)
    before = contents(run.path)
    for options in ((), ("--accept-changed-data",)):
        done = run_cli("resume", run.id, *options)
        assert done.code == 2
        assert f"what run {run.id} is trained on changed since it began: {words}. Put it back as it was" in done.stderr
    assert contents(run.path) == before


def test_images_that_came_are_named_and_refused_until_they_are_accepted(
    run: RunFolder, data: Path, run_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[RunFolder] = []
    monkeypatch.setattr("tleg.launch.launch", started.append)
    add(data)
    next((data / "val" / "2").iterdir()).unlink()
    before = contents(run.path)
    done = run_cli("resume", run.id, "--detach")
    assert done.code == 2
    assert (
        "3 training images more (in '1'); 1 validation image fewer (in '2'). "
        f"`tleg resume {run.id} --accept-changed-data` goes on with that, for as many steps as were planned" in done.stderr
    )
    assert contents(run.path) == before
    assert run_cli("resume", run.id, "--detach", "--accept-changed-data").code == 0
    assert started == [run]
    inputs = read_inputs(run)
    assert inputs is not None
    assert inputs.accepted
    assert read_spec(run).amendments[-1]["changes"] == {
        "accepted": "3 training images more (in '1'); 1 validation image fewer (in '2')"
    }
    # The trainer goes on with them, says so, and asks again about what comes next.
    recipe, recorder = from_values("learn", read_spec(run).recipe), Recorder()
    assert settle_inputs(run, recipe, open_data(str(data)), SINGLE, recorder) == 200, "an epoch has as many steps as before"
    assert [code for code, _ in recorder.warnings] == ["inputs", "inputs"]
    assert look_again(run) == []
    add(data, 1, "2")
    assert [each.text for each in look_again(run)] == ["1 training image more (in '2')"]
    inputs = read_inputs(run)
    assert inputs is not None
    assert (inputs.accepted, inputs.epoch_images) == (False, 200)


def test_what_was_not_noted_is_not_compared(run: RunFolder, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg.launch import resume_training

    started: list[RunFolder] = []
    monkeypatch.setattr("tleg.launch.launch", started.append)
    rename("3", "three")(data)
    run.inputs_file.unlink()
    resume_training(run)  # A run of an earlier version.
    assert started == [run]


def test_a_run_without_a_checkpoint_begins_anew_with_what_it_finds(run: RunFolder, data: Path) -> None:
    (run.checkpoints / "step-000000007").rmdir()
    rename("3", "three")(data)
    add(data, 40)
    recipe, recorder = from_values("learn", read_spec(run).recipe), Recorder()
    assert settle_inputs(run, recipe, open_data(str(data)), SINGLE, recorder) == 240
    assert "begins anew with that" in recorder.warnings[0][1]
    assert look_again(run) == []


def test_data_that_is_gone_is_told_before_anything_is_started(
    run: RunFolder, data: Path, run_cli: Callable[..., Any]
) -> None:
    data.rename(data.with_name("away"))
    before = contents(run.path)
    done = run_cli("resume", run.id)
    assert done.code == 2
    assert f"run {run.id} cannot go on: there is no folder and no known data set" in done.stderr
    assert contents(run.path) == before


def test_a_learngene_with_other_contents(run: RunFolder, data: Path, tmp_path: Path, tiny_learngene: Any) -> None:
    arguments = {"img_size": 8, "patch_size": 4, "in_chans": 1}
    gene = tmp_path / "gene.safetensors"
    tiny_learngene(arguments=arguments, num_classes=10).save(gene)
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "config.json").write_text("{}")
    (teacher / "model.safetensors").write_bytes(b"weights")
    recipe = from_values(
        "finetune", {"learngene": str(gene), "depth": 2, "teacher": str(teacher), "data": str(data), "batch-size": 40}
    )
    write_spec(run, replace(read_spec(run), kind="finetune", recipe=to_values(recipe)))
    write_inputs(run, RunInputs())
    settle_inputs(run, recipe, open_data(str(data)), SINGLE, Recorder())
    assert look_again(run) == []
    tiny_learngene(arguments=arguments, num_classes=10, seed=1).save(gene, overwrite=True)
    assert [(each.text, each.acceptable) for each in look_again(run)] == [(f"the learngene {gene} has other weights", True)]
    tiny_learngene(arguments=arguments, num_classes=9).save(gene, overwrite=True)
    assert [(each.text, each.acceptable) for each in look_again(run)] == [
        (f"the learngene {gene} describes another model", False)
    ]
    gene.unlink()
    (teacher / "model.safetensors").write_bytes(b"other weights")
    assert [(each.text, each.acceptable) for each in look_again(run)] == [
        (f"the learngene {gene} is gone", False),
        (f"the teacher {teacher} has other weights", True),
    ]


# The schedule


@pytest.mark.parametrize("images", [40, 77, 100, 160])
def test_an_epoch_keeps_its_steps(images: int) -> None:
    order = ShuffledBatches(images, 20, 3, seed=1, epoch_images=100)
    batches = list(order)
    assert (order.steps_per_epoch, len(order), len(batches)) == (5, 15, 15)
    for epoch in range(3):
        seen = [index for batch in batches[5 * epoch : 5 * epoch + 5] for _, index, _ in batch]
        assert {number for batch in batches[5 * epoch : 5 * epoch + 5] for number, _, _ in batch} == {epoch}
        counts = [seen.count(index) for index in range(images)]
        assert max(counts) - min(counts) <= 1
        assert sum(counts) == 100
    assert list(ShuffledBatches(images, 20, 3, seed=1, epoch_images=100, start=7)) == batches[7:]
    if images == 100:
        assert batches == list(ShuffledBatches(100, 20, 3, seed=1))


def test_learning_rates_and_steps_stay_as_planned(
    digits: Data, placement: Placement, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    train = digits.train
    assert isinstance(train, ArrayImages)
    sets = {count: replace(digits, train=first_images(train, count)) for count in (160, 96, 320)}

    def rates(counts: tuple[int, int]) -> list[tuple[int, int | None, int | None, float | None]]:
        checkpoints, told = Checkpoints(tmp_path / f"{counts}"), []
        for count, stop in zip(counts, (4, None), strict=True):
            recorder = Recorder(stop_after=stop)
            job = learn_job(sets[count], VIT, ARGUMENTS, recipe=recipe(batch_size=32, epochs=2), epoch_images=160)
            try:
                learn(job, placement, observer=recorder, checkpoints=checkpoints)
            except TrainingStoppedError:
                assert stop
            told += [(each.step, each.steps, each.epoch, each.learning_rate) for each in recorder.reports]
        return [told[0], told[-1]]

    whole = rates((160, 160))
    assert whole[-1][:3] == (10, 10, 2)
    assert rates((160, 96)) == whole == rates((160, 320))


def test_a_run_whose_images_changed_under_it(tmp_path: Path, data: Path) -> None:
    recipe = from_values("learn", {**LEARN, "data": str(data), "epochs": 2, "evaluate-depths": "2"})
    folder = create_run(tmp_path / "runs", kind="learn", recipe=to_values(recipe))
    finish(folder)
    spec = read_spec(folder)
    write_spec(folder, replace(spec, recipe={**spec.recipe, "epochs": 3}))
    assert write_state(folder, replace(observe(folder), state="stopped"))
    add(data, 90)
    # Whoever starts a trainer without asking first is refused by the trainer.
    assert start(folder).wait(timeout=200) == 2
    state = observe(folder)
    assert state.state == "failed"
    assert "90 training images more (in '1'). `tleg resume" in (state.message or "")
    inputs = read_inputs(folder)
    assert inputs is not None
    write_inputs(folder, replace(inputs, accepted=True))
    finish(folder)
    state = observe(folder)
    assert (state.state, state.step, state.steps) == ("finished", 15, 15), "290 images would have made 21 steps"
    warnings = [event.payload["text"] for event in EventReader(folder).read() if event.type == "warning"]
    assert "since the run began 90 training images more (in '1'); the run goes on with that" in warnings
