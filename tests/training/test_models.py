"""Models that cannot be run: said before the first step, by the name of the model, with what to do."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from tests.training.conftest import ARGUMENTS, VIT, learn_job
from tleg.data.datasets import Data
from tleg.data.loader import batches, worker_options
from tleg.errors import SHARED_MEMORY, ArchitectureError, DataError, InputError, TeacherError, TlegError
from tleg.learngene.header import Preprocessing
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Recipe
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import Placement
from tleg.training.evaluate import evaluate_subject
from tleg.training.learn import learn
from tleg.training.models import check_forward
from tleg.training.subjects import open_subject
from tleg.training.teacher import open_checked_teacher

MakeRecipe = Callable[..., Recipe]


@pytest.mark.parametrize(("name", "size"), [("convnext_atto", 8), ("levit_128s", 8)])
def test_a_model_that_takes_no_image_of_that_size(
    name: str, size: int, digits_folder: Path, run_cli: Callable[..., Any]
) -> None:
    words = (
        "finetune",
        "--model",
        name,
        "--image-size",
        size,
        "--data",
        digits_folder,
        "--batch-size",
        40,
        "--device",
        "cpu",
    )
    done = run_cli(*words, "--dry-run")
    assert done.code == 2
    assert f"the model {name} cannot be run on images of {size}x{size} pixels: " in done.stderr
    assert "give another --image-size" in done.stderr


def test_a_look_at_a_model_changes_nothing_in_it() -> None:
    model = timm.create_model("resnet10t", num_classes=10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    check_forward(model, "resnet10t", (3, 32, 32))
    assert model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_logits() -> None:
    with pytest.raises(ArchitectureError, match="the model conv returns no logits for an image"):
        check_forward(nn.Conv2d(3, 4, 1), "conv", (3, 8, 8))


def test_memory_is_not_the_models_fault() -> None:
    class Greedy(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**55)

    with pytest.raises(RuntimeError, match="allocate memory"):
        check_forward(Greedy(), "greedy", (3, 8, 8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ViT of 16 pixels in a folder that says 12."""
    model = timm.create_model(VIT, **{**ARGUMENTS, "img_size": 16}, in_chans=1, num_classes=10)
    timm.models.save_for_hf(
        model, str(tmp_path / "teacher"), model_args={**ARGUMENTS, "img_size": 16, "in_chans": 1}, safe_serialization="both"
    )
    config = tmp_path / "teacher" / "config.json"
    document = json.loads(config.read_text())
    document["pretrained_cfg"] |= {"input_size": [1, 12, 12], "fixed_input_size": False, "mean": [0.5], "std": [0.5]}
    config.write_text(json.dumps(document))
    return tmp_path / "teacher"


def test_a_teacher_whose_description_is_wrong(folder: Path, digits: Data, placement: Placement) -> None:
    with pytest.raises(
        TeacherError, match=r"the teacher teacher cannot be run on images of 12x12 pixels.*check its input_size"
    ):
        open_checked_teacher(
            str(folder), digits, placement, input_size=(1, 8, 8), preprocessing=Preprocessing((0.5,), (0.5,))
        )


def test_an_evaluation_of_such_a_model(folder: Path, digits: Data, placement: Placement) -> None:
    subject = open_subject(str(folder), placement, None)
    with pytest.raises(InputError, match="the model cannot be run on images of 12x12 pixels, as its own description says: "):
        evaluate_subject(subject, digits, placement, limit=4)


def test_a_checkpoint_of_another_model(digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    few = replace(digits, train=digits.validation)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), recipe=recipe(epochs=1))
    learn(job, placement, checkpoints=Checkpoints(tmp_path))
    wider = learn_job(few, VIT, {**ARGUMENTS, "embed_dim": 64}, depths=Depths(1), recipe=recipe(epochs=1))
    with pytest.raises(
        TlegError, match=r"step-\d+ is of another model than the run makes now \(.*\); go on with the versions"
    ):
        learn(wider, placement, checkpoints=Checkpoints(tmp_path))


class Full(torch.utils.data.Dataset[Any]):
    """Fails as a worker does whose shared memory is full."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)")


def test_shared_memory_that_is_full() -> None:
    loader = torch.utils.data.DataLoader(Full(), batch_size=4, **worker_options(1))
    with pytest.raises(DataError) as caught:
        list(batches(loader))
    assert str(caught.value) == SHARED_MEMORY


def test_the_fixture_is_a_folder_that_works_when_it_says_so(folder: Path, digits: Data, placement: Placement) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace("12", "16"))
    shutil.rmtree(folder / "none", ignore_errors=True)
    scores = evaluate_subject(open_subject(str(folder), placement, None), digits, placement, limit=4)
    assert scores[None].images == 4
