"""A training that was interrupted and goes on equals one that was not, to the bit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, first_images, learn_job
from tleg.data.datasets import Data
from tleg.errors import TlegError
from tleg.models.learngene import load
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Augmentation, Keeping, Recipe
from tleg.training.checkpoint import (
    Checkpoints,
    learngene_of_checkpoint,
    model_folder_of_checkpoint,
    read_checkpoint,
    read_progress,
)
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_learngene, init_from_timm
from tleg.training.job import FinetuneJob
from tleg.training.learn import learn, learn_to_file
from tleg.training.observer import TrainingStoppedError

MakeRecipe = Callable[..., Recipe]
EVERYTHING: dict[str, Any] = {
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema": 0.99,
    "accumulate": 2,
    "augmentation": Augmentation(),
    "repeats": 2,
}


@pytest.fixture
def few(digits: Data) -> Data:
    """160 training images, 40 for validation."""
    train = first_images(digits.train, 160)
    validation = first_images(digits.validation, 40)
    return replace(digits, train=train, validation=validation)


def interrupted(train: Callable[[Recorder], Any], stops: tuple[int, ...]) -> Any:
    """Run a training that is asked to stop again and again, then let it end."""
    for count in stops:
        with pytest.raises(TrainingStoppedError):
            train(Recorder(stop_after=count))
    return train(Recorder())


@pytest.mark.parametrize(
    ("options", "depths"),
    [
        ({}, Depths(3)),
        ({**EVERYTHING, "workers": 2}, Depths(4, (2, 3, 4))),
        ({"ema": 0.9, "gradient_checkpointing": True, "clip_gradient": 0.0}, Depths(4, (2, 3, 4), "sandwich")),
        ({"optimizer": "sgd", "schedule": "linear"}, Depths(2)),
    ],
)
def test_a_stopped_auxiliary_goes_on_as_if_nothing_had_been(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, options: dict[str, Any], depths: Depths
) -> None:
    keeping = Keeping(evaluate_every=1, checkpoint_steps=2)
    job = learn_job(few, VIT, ARGUMENTS, depths=depths, keeping=keeping, recipe=recipe(**{"batch_size": 32, **options}))
    whole = learn(job, placement)

    def train(observer: Recorder) -> Any:
        # The number of workers may change when a run goes on.
        workers = 0 if observer.stop_after is None else job.recipe.recipe.workers
        changed = replace(job, recipe=replace(job.recipe, recipe=replace(job.recipe.recipe, workers=workers)))
        return learn(changed, placement, observer=observer, checkpoints=Checkpoints(tmp_path, keeping))

    assert interrupted(train, (1, 3, 2)).hash() == whole.hash()


@pytest.mark.parametrize("options", [{}, {**EVERYTHING, "workers": 2}])
def test_a_stopped_fine_tuning_goes_on_as_if_nothing_had_been(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, options: dict[str, Any], tiny_learngene: Any
) -> None:
    # Stochastic depth draws at every step; batch norm keeps statistics.
    learngene = tiny_learngene(arguments={"img_size": 8, "patch_size": 4, "in_chans": 1})
    learngene.save(tmp_path / "gene.safetensors")
    starts = {
        "vit": init_from_learngene(str(tmp_path / "gene.safetensors"), 3, 0.3),
        "resnet": init_from_timm("resnet10t", {"channels": [8, 8, 8, 8], "stem_width": 8}, image_size=(8, 8)),
    }
    for name, start in starts.items():
        job = finetune_job(few, start, recipe=recipe(**{"batch_size": 32, **options}), keeping=Keeping(checkpoint_steps=2))
        finetune(job, placement, tmp_path / name / "whole")

        def train(observer: Recorder, job: FinetuneJob = job, name: str = name) -> Any:
            checkpoints = Checkpoints(tmp_path / name / "checkpoints", job.recipe.keeping)
            return finetune(
                job, placement, tmp_path / name / "resumed", observer=observer, checkpoints=checkpoints, overwrite=True
            )

        interrupted(train, (1, 4))
        whole, resumed = (load_file(tmp_path / name / each / "model.safetensors") for each in ("whole", "resumed"))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_resuming_does_not_load_the_start_again(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, tiny_learngene: Any
) -> None:
    # The official code loads the learngene over the trained weights when it resumes with the same command line.
    learngene = tiny_learngene(arguments={"img_size": 8, "patch_size": 4, "in_chans": 1}, num_classes=10)
    learngene.save(tmp_path / "gene.safetensors")
    start = init_from_learngene(str(tmp_path / "gene.safetensors"), 2)
    job = finetune_job(few, start, recipe=recipe(batch_size=32, epochs=2))
    checkpoints = Checkpoints(tmp_path / "checkpoints", job.recipe.keeping)
    with pytest.raises(TrainingStoppedError):
        finetune(job, placement, tmp_path / "m", observer=Recorder(stop_after=9), checkpoints=checkpoints)
    stored, _ = checkpoints.latest()
    assert stored is not None
    assert stored.progress.step == 9
    finetune(job, placement, tmp_path / "m", checkpoints=checkpoints)
    trained = load_file(tmp_path / "m" / "model.safetensors")
    initial = learngene.expand(2).state_dict()
    moved = [name for name, value in initial.items() if not torch.allclose(value, trained[name], atol=1e-4)]
    # One step is left after step 9: it cannot have done all that.
    one = [
        name
        for name, value in stored.tensors["model"].items()
        if not torch.allclose(value, trained[name.removeprefix("model.")], atol=5e-3)
    ]
    assert len(moved) == len(initial)
    assert not one


def test_the_average_is_restored_and_kept(few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    # The official code never restores its average, nor evaluates it.
    keeping = Keeping(evaluate_every=1)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(2), keeping=keeping, recipe=recipe(batch_size=32, ema=0.95))
    recorder = Recorder()
    result = learn(job, placement, observer=recorder, checkpoints=Checkpoints(tmp_path / "checkpoints", keeping))
    last = read_checkpoint(Checkpoints(tmp_path / "checkpoints").paths()[0])
    average = {name: value for name, value in last.tensors["ema"].items() if name.startswith("terms.")}
    for name, value in average.items():
        assert torch.equal(torch.from_numpy(result.tensors[f"blocks.{name[6:].replace('/', '.')}"]), value)
        assert not torch.equal(value, last.tensors["model"][f"model.{name}"])
    assert [weights for _, weights, _ in recorder.evaluations] == ["model", "ema"] * 2
    assert learngene_of_checkpoint(tmp_path).hash() == result.hash()


def test_an_average_is_of_use_within_a_short_run(digits: Data, placement: Placement, recipe: MakeRecipe) -> None:
    # With the official decay and no warm-up the average would still be nearly the random start after these steps.
    keeping, recorder = Keeping(evaluate_every=4), Recorder()
    chosen = recipe(epochs=4, batch_size=32, learning_rate=3e-3, ema=0.9998)
    learn(learn_job(digits, VIT, ARGUMENTS, depths=Depths(3), recipe=chosen, keeping=keeping), placement, observer=recorder)
    (_, _, model), (_, _, average) = recorder.evaluations
    assert model[3].top1 > 30
    assert average[3].top1 > 22


def test_the_last_the_best_and_the_milestones_are_kept(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    keeping, recorder = Keeping(keep_last=2, keep_every=3), Recorder()
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), keeping=keeping, recipe=recipe(batch_size=32, epochs=8))
    learn(job, placement, observer=recorder, checkpoints=Checkpoints(tmp_path, keeping))
    accuracy = {step: scores[1].top1 for step, _, scores in recorder.evaluations}
    best = max(step for step, value in accuracy.items() if value == max(accuracy.values()))
    expected = {40, 35, best, 15, 30}
    assert {read_progress(path).step for path in Checkpoints(tmp_path).paths()} == expected
    assert Checkpoints(tmp_path).best() == tmp_path / f"step-{best:09d}"
    flags = [step for step, is_best in recorder.checkpoints if is_best]
    assert flags[-1] == best


def test_checkpoints_of_epochs_need_no_evaluation(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    kept = Keeping(evaluate_every=0, checkpoint_minutes=0, keep_last=1, keep_every=1)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), keeping=kept, recipe=recipe(batch_size=32, epochs=3))
    learn(job, placement, checkpoints=Checkpoints(tmp_path, kept))
    assert [read_progress(path).step for path in Checkpoints(tmp_path).paths()] == [15, 10, 5]


def test_what_is_worth_it_is_saved_before_an_evaluation(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several processes cannot leave an evaluation, and a batch job may end during it.
    monkeypatch.setattr("tleg.training.trainer._SECONDS_AT_RISK", 0.0)
    keeping = Keeping(evaluate_every=1, result="best")
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), keeping=keeping, recipe=recipe(batch_size=32))
    whole = learn(job, placement, checkpoints=Checkpoints(tmp_path / "whole", keeping))

    class Ended(Recorder):
        def stage(self, name: str, text: str, done: int | None = None, total: int | None = None) -> None:
            if name == "evaluation":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(job, placement, observer=Ended(), checkpoints=Checkpoints(tmp_path / "ended", keeping))
    (path,) = Checkpoints(tmp_path / "ended").paths()
    assert (read_progress(path).step, read_progress(path).score) == (5, None)
    again = Recorder()
    resumed = learn(job, placement, observer=again, checkpoints=Checkpoints(tmp_path / "ended", keeping))
    assert [step for step, _, _ in again.evaluations] == [5, 10]
    assert resumed.hash() == whole.hash()


def test_a_damaged_checkpoint_is_passed_over(few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path) -> None:
    keeping = Keeping(evaluate_every=0, checkpoint_steps=3, keep_last=5)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(2), keeping=keeping, recipe=recipe(batch_size=32))
    whole = learn(job, placement)
    with pytest.raises(TrainingStoppedError):
        learn(job, placement, observer=Recorder(stop_after=8), checkpoints=Checkpoints(tmp_path, keeping))
    latest, earlier, *_ = Checkpoints(tmp_path).paths()
    content = bytearray((latest / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (latest / "model.safetensors").write_bytes(content)
    recorder = Recorder()
    resumed = learn(job, placement, observer=recorder, checkpoints=Checkpoints(tmp_path, keeping))
    assert recorder.begun_at == read_progress(earlier).step == 6
    assert "is damaged: it changed since it was written; an earlier one is used" in recorder.warnings[0][1]
    assert resumed.hash() == whole.hash()


def test_a_loss_that_is_not_finite_spares_the_checkpoints(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    # The official code leaves at once, without a checkpoint.
    keeping = Keeping(evaluate_every=0, checkpoint_steps=1, keep_last=100)
    wild = recipe(batch_size=32, epochs=40, learning_rate=100.0, warmup_epochs=20, clip_gradient=0.0)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(4), keeping=keeping, recipe=wild)
    with pytest.raises(TlegError, match=r"try a lower --lr or a longer warm-up; the last checkpoint is of step (\d+)"):
        learn(job, placement, checkpoints=Checkpoints(tmp_path, keeping))
    kept = Checkpoints(tmp_path).paths()
    assert kept
    for path in kept:
        for value in read_checkpoint(path).tensors["model"].values():
            assert torch.isfinite(value).all()


class _StopsAnEvaluation(Recorder):
    """Asks to stop in the middle of an evaluation: the one that begins after so many others."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.in_time = False

    def stage(self, name: str, text: str, done: int | None = None, total: int | None = None) -> None:
        self.in_time = self.in_time or (name == "evaluation" and len(self.evaluations) >= self.after)

    def stop_requested(self) -> bool:
        return self.in_time


def test_an_evaluation_that_was_left_is_made_up_for(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    # Else the best weights could be others than those of a run that was never stopped.
    keeping = Keeping(evaluate_every=1, keep_last=9, result="best")
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(2), keeping=keeping, recipe=recipe(batch_size=32, epochs=3))
    untouched = Recorder()
    whole = learn(job, placement, observer=untouched, checkpoints=Checkpoints(tmp_path / "whole", keeping))
    checkpoints = Checkpoints(tmp_path / "stopped", keeping)
    seen: list[int] = []
    # The first evaluation is left, again when the run goes on, then the second, then the last.
    for after, step in ((0, 5), (0, 5), (1, 10), (1, 15)):
        observer = _StopsAnEvaluation(after)
        with pytest.raises(TrainingStoppedError, match=f"stopped after step {step} of 15"):
            learn(job, placement, observer=observer, checkpoints=checkpoints)
        seen += [at for at, _, _ in observer.evaluations]
        # The last step is told, whatever was told a moment before: what a viewer shows is what was saved.
        assert not observer.reports or observer.reports[-1].step == step
    last = Recorder()
    resumed = learn(job, placement, observer=last, checkpoints=checkpoints)
    assert seen + [at for at, _, _ in last.evaluations] == [at for at, _, _ in untouched.evaluations] == [5, 10, 15]
    assert resumed.hash() == whole.hash()
    scores = (
        {path.name: read_progress(path).score for path in each.paths()}
        for each in (checkpoints, Checkpoints(tmp_path / "whole"))
    )
    assert next(scores) == next(scores)


def test_the_evaluation_of_a_result_can_be_stopped(
    digits: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    # 397 images are two batches.
    keeping = Keeping(evaluate_every=0)
    chosen = recipe(epochs=1)
    learning = learn_job(digits, VIT, ARGUMENTS, depths=Depths(2), keeping=keeping, recipe=chosen, evaluate_depths="1,2")
    tuning = finetune_job(digits, init_from_timm(VIT, {**ARGUMENTS, "depth": 1}), recipe=chosen, keeping=keeping)
    gene, model = tmp_path / "gene.safetensors", tmp_path / "model"

    def learn_it(observer: Recorder) -> None:
        kept = Checkpoints(tmp_path / "a", keeping)
        learn_to_file(learning, placement, gene, overwrite=True, observer=observer, checkpoints=kept)

    def tune_it(observer: Recorder) -> None:
        kept = Checkpoints(tmp_path / "b", keeping)
        finetune(tuning, placement, model, overwrite=True, observer=observer, checkpoints=kept)

    for train, words in ((learn_it, "all depths"), (tune_it, "the result")):
        with pytest.raises(TrainingStoppedError, match=f"stopped while evaluating {words}"):
            train(_StopsAnEvaluation(0))
        again = Recorder()
        train(again)
        assert (again.begun_at, again.reports) == (21, [])
    reached = load(gene).header.reached
    assert reached is not None
    assert reached.images == 397
    assert json.loads((model / "training.json").read_text())["reached"]["images"] == 397


def test_a_kill_while_a_checkpoint_is_renewed_leaves_no_obstacle(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    keeping = Keeping(evaluate_every=1)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), keeping=keeping, recipe=recipe(batch_size=32))
    whole = learn(job, placement)
    checkpoints = Checkpoints(tmp_path, keeping)
    with pytest.raises(TrainingStoppedError):
        learn(job, placement, observer=_StopsAnEvaluation(0), checkpoints=checkpoints)
    (stopped,) = checkpoints.paths()
    # Killed when the renewed one was complete, before it took its place; and at other times between the two.
    for left in ((".new",), (".new", ".old"), (".old",)):
        for suffix in left:
            shutil.copytree(tmp_path / stopped.name, stopped.with_suffix(suffix))
        if left == (".new", ".old"):
            shutil.rmtree(stopped)
        with pytest.raises(TrainingStoppedError):
            learn(job, placement, observer=_StopsAnEvaluation(0), checkpoints=checkpoints)
        assert [path.name for path in tmp_path.iterdir()] == [stopped.name]
    assert learn(job, placement, checkpoints=checkpoints).hash() == whole.hash()


def test_a_folder_that_became_read_only_costs_a_checkpoint_and_not_the_run(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = Keeping(evaluate_every=0, checkpoint_steps=2, keep_last=9)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), keeping=keeping, recipe=recipe(batch_size=32))
    looks: list[bool] = []

    def access(path: object, mode: int) -> bool:
        looks.append(len(looks) != 1)
        return looks[-1]

    monkeypatch.setattr("tleg.files.os.access", access)
    recorder = Recorder()
    learn(job, placement, observer=recorder, checkpoints=Checkpoints(tmp_path, keeping))
    assert [text for _, text in recorder.warnings] == [
        f"no checkpoint of step 4: cannot write {tmp_path / 'step-000000004'}: no permission to write in {tmp_path}"
    ]
    assert [read_progress(path).step for path in Checkpoints(tmp_path).paths()] == [10, 8, 6, 2]


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = Keeping(evaluate_every=0, checkpoint_steps=2, keep_last=9)
    job = learn_job(few, VIT, ARGUMENTS, depths=Depths(1), keeping=keeping, recipe=recipe(batch_size=32))
    original, calls = Path.write_bytes, []

    def write_bytes(self: Path, content: bytes) -> int:
        calls.append(self)
        if 5 <= len(calls) <= 6:
            raise OSError(28, "No space left on device")
        return original(self, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    recorder = Recorder()
    learn(job, placement, observer=recorder, checkpoints=Checkpoints(tmp_path, keeping))
    assert any("No space left on device" in text for _, text in recorder.warnings)
    steps = [read_progress(path).step for path in Checkpoints(tmp_path).paths()]
    assert steps[0] == 10
    assert 2 in steps
    assert not list(tmp_path.glob(".*"))


def test_an_unfinished_fine_tuning_is_a_folder_that_timm_loads(
    few: Data, placement: Placement, recipe: MakeRecipe, tmp_path: Path
) -> None:
    import timm

    start = init_from_timm(VIT, {**ARGUMENTS, "depth": 2})
    job = finetune_job(few, start, recipe=recipe(batch_size=32))
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", job.recipe.keeping)
    with pytest.raises(TrainingStoppedError):
        finetune(job, placement, tmp_path / "m", observer=Recorder(stop_after=3), checkpoints=checkpoints)
    folder = model_folder_of_checkpoint(tmp_path / "run", "last", tmp_path / "kept")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    stored, _ = Checkpoints(tmp_path / "run" / "checkpoints").latest()
    assert stored is not None
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored.tensors["model"][f"model.{name}"])
