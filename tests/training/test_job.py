"""What a recipe becomes before it is trained: its data opened, its steps counted."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.training.conftest import ARGUMENTS, VIT, Recorder, learn_job
from tleg.data.datasets import Data
from tleg.errors import DataError
from tleg.learngene.header import Preprocessing
from tleg.recipes.distillation import Depths
from tleg.recipes.images import ImageReading
from tleg.recipes.io import from_values
from tleg.recipes.training import Recipe
from tleg.training import job as jobs
from tleg.training.distributed import World
from tleg.training.job import Job, open_job


def test_the_others_wait_long_for_data_that_the_first_process_prepares(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[timedelta] = []
    monkeypatch.setattr(World, "barrier", lambda _, timeout=timedelta(): waited.append(timeout))
    monkeypatch.setattr(jobs, "open_data", lambda *_: SimpleNamespace(notes=()))
    recipe: Any = SimpleNamespace(data="x", validation_split=0.0, images=ImageReading(), recipe=SimpleNamespace(seed=0))
    for rank in range(2):
        jobs.open_data_of(recipe, World(rank, 2))
    assert all(each >= timedelta(hours=12) for each in waited)
    assert len(waited) == 2


def test_steps_follow_from_the_images_that_an_epoch_began_with(digits: Data) -> None:
    recipe = Recipe(epochs=3, batch_size=128)
    assert (learn_job(digits, recipe=recipe).steps_per_epoch, learn_job(digits, recipe=recipe).steps) == (10, 30)
    again = learn_job(digits, recipe=recipe, epoch_images=700)
    assert (again.steps_per_epoch, again.steps) == (5, 15)
    assert again.record()["steps"] == 15
    assert again.record()["images"] == 1400


def test_a_batch_that_the_images_do_not_fill_is_refused(digits: Data) -> None:
    job: Job[Any] = learn_job(digits, recipe=Recipe(batch_size=1500, accumulate=3))
    with pytest.raises(DataError, match=r"1400 training images are too few for a batch of 1500; the largest .* is 1398"):
        job.check_enough()
    with pytest.raises(DataError, match="the largest batch-size that fits is 1398"):
        job.check_enough(2)


def test_both_kinds_are_opened_with_their_data(digits_folder: Path) -> None:
    learning = open_job(from_values("learn", {"architecture": "vit_tiny_patch16_224", "data": str(digits_folder)}))
    tuning = open_job(from_values("finetune", {"model": "resnet10t", "data": str(digits_folder), "batch-size": 50}))
    assert (len(learning.data.train), len(tuning.data.train)) == (200, 200)
    assert (learning.steps, tuning.steps) == (200 // 128 * learning.recipe.recipe.epochs, 4 * 10)
    assert isinstance(tuning, jobs.FinetuneJob)
    assert tuning.start(tuning.data).architecture.name == "resnet10t"


@pytest.mark.parametrize(("pixels", "said"), [(32, False), (40, True)])
def test_images_that_are_enlarged_much_are_worth_a_warning(digits: Data, recipe: Any, pixels: int, said: bool) -> None:
    recorder = Recorder()
    job = learn_job(digits, VIT, ARGUMENTS, depths=Depths(3), recipe=recipe())
    transform = job.training_transform((1, pixels, pixels), Preprocessing((0.5,), (0.25,)), recorder)
    assert [code for code, _ in recorder.warnings] == ["enlarged"] * said
    assert all(text.startswith("images of 8 pixels are enlarged to 40,") for _, text in recorder.warnings)
    assert transform(digits.train.image(0)).shape == (1, pixels, pixels)
