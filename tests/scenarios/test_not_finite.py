"""A model whose outputs are no numbers never gets an accuracy: not on the way, not at the end, not in a file."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, learn_job
from tleg.data.datasets import Data
from tleg.errors import InputError, TlegError
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Keeping
from tleg.training.checkpoint import Checkpoints, read_progress
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_timm
from tleg.training.learn import learn_to_file
from tleg.training.students import AuxiliaryStudent


def test_an_evaluation_on_the_way_that_fails_at_a_depth_does_not_count(
    digits: Data, placement: Placement, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = AuxiliaryStudent.predict, []

    def predict(self: Any, model: Any, pixels: torch.Tensor, depth: int) -> torch.Tensor:
        calls.append(depth)
        broken = depth == 3 and len(calls) > 4  # The second evaluation: each has two batches at two depths.
        logits: torch.Tensor = whole(self, model, pixels, depth)
        return logits * torch.nan if broken else logits

    monkeypatch.setattr(AuxiliaryStudent, "predict", predict)
    recorder, keeping = Recorder(), Keeping(keep_last=5)
    job = learn_job(digits, VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=recipe(), keeping=keeping)
    checkpoints = Checkpoints(tmp_path / "checkpoints", keeping)
    learn_to_file(job, placement, tmp_path / "g.safetensors", observer=recorder, checkpoints=checkpoints)
    (_, _, first), (_, _, second) = recorder.evaluations
    assert first[3].top1 is not None
    assert (second[3].top1, second[3].nonfinite) == (None, 397)
    assert second[2].top1 is not None
    scores = {path.name: read_progress(path).score for path in checkpoints.paths()}
    assert scores == {"step-000000021": (first[2].top1 + first[3].top1) / 2, "step-000000042": None}
    best = checkpoints.best()
    assert best is not None
    assert best.name == "step-000000021"
    (warning,) = [text for code, text in recorder.warnings if code == "nonfinite"]
    assert warning == (
        "the outputs of the model are not finite (NaN or infinite) for 397 of 397 images at depth 3; "
        "this evaluation does not count"
    )


def test_a_result_that_gives_no_numbers_fails_and_says_where_it_is(
    digits: Data, placement: Placement, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The running means of batch norm are no trained weights: a training can end without a word of theirs.
    from tleg.training import finetune as module
    from tleg.training.trainer import train as whole

    def broken(*given: Any) -> Any:
        model: Any = whole(*given)
        next(value for name, value in model.named_buffers() if name.endswith("running_mean")).fill_(torch.nan)
        return model

    monkeypatch.setattr(module, "train", broken)
    start = init_from_timm("resnet10t", {"in_chans": 1, "channels": [16, 16, 32, 32], "stem_width": 16}, image_size=(8, 8))
    output = tmp_path / "result"
    with pytest.raises(TlegError, match=rf"the model, which is in {output}, are not finite .* 397 of 397 images, so it has"):
        finetune(finetune_job(digits, start, recipe=recipe(epochs=1)), placement, output)
    assert json.loads((output / "training.json").read_text(), parse_constant=pytest.fail)["reached"] is None


@pytest.mark.parametrize("name", ["fc.bias", "bn1.running_var"])
def test_weights_that_are_no_numbers_are_no_start(
    digits: Data, placement: Placement, recipe: Any, tmp_path: Path, name: str
) -> None:
    whole = init_from_timm("resnet10t", {"in_chans": 1, "channels": [16, 16, 32, 32], "stem_width": 16}, image_size=(8, 8))

    def start(data: Data) -> Any:
        made = whole(data)
        full = next(each for each in made.model.state_dict() if each.endswith(name))
        made.model.state_dict()[full].view(-1)[0] = float("inf")
        return made

    with pytest.raises(InputError, match=f"'.*{name}' of the weights to start from hold NaN or infinity"):
        finetune(finetune_job(digits, start, recipe=recipe(epochs=1)), placement, tmp_path / "result")
    assert not (tmp_path / "result").exists()
