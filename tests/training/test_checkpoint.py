"""Which checkpoint a run goes on from: never silently none, and the same in every process."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, first_images
from tests.training.processes import play
from tleg.data.datasets import Data
from tleg.errors import FileFormatError, TlegError
from tleg.recipes.training import Keeping, Recipe
from tleg.training.checkpoint import Checkpoint, Checkpoints, read_checkpoint
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.finetune import finetune
from tleg.training.init import init_from_timm
from tleg.training.job import FinetuneJob
from tleg.training.observer import TrainingStoppedError
from tleg.training.optim import TrainingState
from tleg.training.resume import resume
from tleg.training.students import PlainStudent

MakeRecipe = Callable[..., Recipe]
KEEPING = Keeping(evaluate_every=0, checkpoint_steps=1, keep_last=3)


@pytest.fixture
def job(digits: Data, recipe: MakeRecipe) -> FinetuneJob:
    """Five steps of one layer."""
    train = first_images(digits.train, 160)
    start = init_from_timm(VIT, {**ARGUMENTS, "depth": 1})
    return finetune_job(replace(digits, train=train), start, recipe=recipe(epochs=1, batch_size=32), keeping=KEEPING)


@pytest.fixture
def stopped(job: FinetuneJob, placement: Placement, tmp_path: Path) -> Checkpoints:
    """The checkpoints of steps 1 to 3."""
    checkpoints = Checkpoints(tmp_path / "checkpoints", KEEPING)
    with pytest.raises(TrainingStoppedError):
        finetune(job, placement, tmp_path / "m", observer=Recorder(stop_after=3), checkpoints=checkpoints)
    return checkpoints


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of_the_future(path: Path) -> None:
    """What a later tleg may write: other fields as well."""
    (path / "progress.json").write_text(json.dumps({"version": 2, "steps_done": 3}))


def test_a_run_whose_checkpoints_cannot_be_read_does_not_begin_anew(
    job: FinetuneJob, stopped: Checkpoints, placement: Placement, tmp_path: Path
) -> None:
    for path in stopped.paths():
        of_the_future(path)
    before = contents(stopped.folder)
    recorder = Recorder()
    with pytest.raises(TlegError, match=r"none of the 3 checkpoints can be read: .* has version 2; .* begin anew"):
        finetune(job, placement, tmp_path / "m", observer=recorder, checkpoints=stopped, overwrite=True)
    assert recorder.warnings == []
    assert contents(stopped.folder) == before


def test_what_cannot_be_read_is_not_removed_and_does_not_push_out_what_was_saved(
    job: FinetuneJob, stopped: Checkpoints, placement: Placement, tmp_path: Path
) -> None:
    third, _, first = stopped.paths()
    of_the_future(first)
    (third / "model.safetensors").write_bytes(b"damaged")
    stopped.keeping = replace(KEEPING, keep_last=1)
    # As long as step 3 does not come again, it is passed over.
    again = read_checkpoint(stopped.at(2))
    progress = again.progress
    stopped.save(
        2, 0, again.tensors, milestone=False, score=None, optimizer=progress.optimizer, scaler=None, about=progress.about
    )
    assert [path.name[-1] for path in stopped.paths()] == ["3", "2", "1"]
    recorder = Recorder()
    finetune(job, placement, tmp_path / "m", observer=recorder, checkpoints=stopped, overwrite=True)
    assert recorder.begun_at == 2
    assert [path.name[-1] for path in stopped.paths()] == ["5", "1"]


def state_of(placement: Placement, recipe: Recipe, seed: int = 0) -> TrainingState:
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(VIT, **ARGUMENTS, depth=1, num_classes=10, in_chans=1)
    return TrainingState(PlainStudent(model), recipe, placement, 5, 1.0)


def test_processes_go_on_from_the_checkpoint_that_the_first_one_chose(
    stopped: Checkpoints, placement: Placement, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first one cannot read step 3, for whatever reason; the other one could.
    calm = Recorder()
    states = [state_of(placement, recipe()) for _ in range(2)]
    main = threading.local()

    def read(path: Path) -> Checkpoint:
        if getattr(main, "here", False) and path == stopped.folder / "step-000000003":
            raise FileFormatError(f"cannot read {path}: Input/output error")
        return read_checkpoint(path)

    monkeypatch.setattr("tleg.training.checkpoint.read_checkpoint", read)

    def part(world: World) -> Any:
        main.here = world.is_main
        progress = resume(states[world.rank], stopped, 5, world, calm)
        return progress and progress.step

    assert play(part, part) == [2, 2]
    assert "Input/output error; an earlier one is used" in calm.warnings[0][1]
    one, other = (state.student.state_dict() for state in states)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_processes_fail_together_when_one_cannot_read_the_checkpoint(
    stopped: Checkpoints, placement: Placement, recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> Checkpoint:
        raise FileFormatError(f"cannot read {path}: Stale file handle")

    # The first process reads in the module that lists them, the others by the step that they are told.
    monkeypatch.setattr("tleg.training.resume.read_checkpoint", read)
    states = [state_of(placement, recipe()) for _ in range(2)]
    one, other = play(*(lambda world: resume(states[world.rank], stopped, 5, world, Recorder()) for _ in range(2)))
    assert type(one) is type(other) is TlegError
    assert str(one) == str(other)
    assert "process 1 of 2: cannot read" in str(one)
    assert "Stale file handle" in str(one)


def test_a_new_run_begins_with_the_same_weights_everywhere(placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    empty = Checkpoints(tmp_path / "none")
    same = [state_of(placement, recipe()) for _ in range(2)]
    assert play(*(lambda world: resume(same[world.rank], empty, 5, world, Recorder()) for _ in range(2))) == [None, None]
    others = [state_of(placement, recipe(), seed) for seed in range(2)]
    for error in play(*(lambda world: resume(others[world.rank], empty, 5, world, Recorder()) for _ in range(2))):
        assert "process 1 of 2 begins with other weights" in str(error)
    assert resume(others[1], None, 5, SINGLE, Recorder()) is None
