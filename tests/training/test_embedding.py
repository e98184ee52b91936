"""Learning a learngene from a teacher's features alone, and what is done with a learngene without a head."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tleg
from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, first_images, learn_job
from tleg.data.datasets import Data
from tleg.errors import InputError, TeacherError
from tleg.learngene.feature_cosine import feature_cosine_in
from tleg.models.creation import create_model
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths, Distillation
from tleg.recipes.training import Keeping
from tleg.runs.reports import DepthScore, EvaluationReport
from tleg.runs.text import format_evaluation, format_reached, format_top1
from tleg.training.checkpoint import Checkpoints, read_checkpoint
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_learngene, init_from_timm
from tleg.training.learn import learn, learn_to_file, prepare
from tleg.training.losses import embedding_loss
from tleg.training.observer import TrainingStoppedError
from tleg.training.teacher import FeatureCheck, Teacher, TeacherReport

EMBEDDING = Distillation("embedding")
WIDTH = {**ARGUMENTS, "class_token": False, "global_pool": "avg", "depth": 2}


@pytest.fixture(scope="module")
def teacher(digits: Data, placement: Placement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of width 48, with a head."""
    from tests.training.conftest import PLAIN
    from tleg.recipes.training import Recipe

    path = tmp_path_factory.mktemp("teacher") / "model"
    start = init_from_timm(VIT, {**WIDTH, "embed_dim": 48, "num_heads": 3})
    recipe = Recipe(epochs=2, batch_size=64, learning_rate=2e-3, workers=0, augmentation=PLAIN)
    finetune(finetune_job(digits, start, recipe=recipe), placement, path)
    return path


def unlabelled(digits: Data) -> Data:
    images = [first_images(each, 320) for each in (digits.train, digits.validation)]
    return replace(digits, classes=(), train=images[0], validation=images[1])


def job(digits: Data, teacher: object, recipe: Any, **changes: Any) -> Any:
    fields: dict[str, Any] = {"distillation": EMBEDDING, "initial_matrices": "timm", "depths": Depths(3, (2, 3)), **changes}
    return learn_job(unlabelled(digits), VIT, ARGUMENTS, teacher=str(teacher), recipe=recipe, **fields)


@pytest.fixture(scope="module")
def learned(digits: Data, teacher: Path, placement: Placement) -> tuple[Learngene, Recorder]:
    from tests.training.conftest import PLAIN
    from tleg.recipes.training import Recipe

    recipe = Recipe(epochs=6, batch_size=64, learning_rate=3e-3, workers=0, augmentation=PLAIN)
    observer = Recorder()
    return learn(job(digits, teacher, recipe, keeping=Keeping()), placement, observer=observer), observer


def test_the_loss_is_the_cosine_distance_and_so_is_its_gradient() -> None:
    student, teacher = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)), torch.randn(5, 7)
    student.requires_grad_(True)
    loss = embedding_loss(student, teacher)
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(student.detach(), teacher, strict=True)]
    assert float(loss.detach()) == pytest.approx(1 - np.mean(cosines), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, student)
    for row, (a, b) in enumerate(zip(student.detach(), teacher, strict=True)):
        expected = -(b / b.norm() - cosines[row] * a / a.norm()) / a.norm() / 5
        torch.testing.assert_close(gradient[row], expected, rtol=1e-4, atol=1e-6)
    assert float(embedding_loss(teacher, 3 * teacher)) == pytest.approx(0, abs=1e-6)


def test_the_cosine_rises_and_chooses_the_best(learned: tuple[Learngene, Recorder]) -> None:
    _, observer = learned
    shown = [scores for _, _, scores in observer.evaluations]
    assert [set(each) for each in shown] == [{2, 3}] * 6
    cosines = [sum(score.cosine for score in each.values()) / 2 for each in shown]
    assert cosines[-1] > cosines[0] + 0.2
    assert all(score.top1 is None and score.images == 320 for each in shown for score in each.values())
    first, last = (observer.reports[place].loss or 0.0 for place in (0, -1))
    assert observer.reports[-1].task_loss == last < first - 0.2


def test_there_is_neither_head_nor_projection_in_the_file(learned: tuple[Learngene, Recorder], tmp_path: Path) -> None:
    learngene, _ = learned
    assert learngene.header.architecture.num_classes == 0
    assert learngene.header.classes == ()
    assert learngene.header.reached is None
    assert not [name for name in learngene.tensors if "head" in name or "projection" in name]
    assert learngene.header.learned["distillation"]["method"] == "embedding"
    assert learngene.header.learned["ancestry"]["features"] == 48
    learngene.save(tmp_path / "l.safetensors")
    again = tleg.load(tmp_path / "l.safetensors")
    assert again.header.architecture == learngene.header.architecture
    (row,) = tleg.preview(tmp_path / "l.safetensors", [3]).rows
    assert row.cost.parameters == sum(value.numel() for value in again.expand(3).parameters())


def test_the_file_keeps_the_cosine_of_every_depth(
    digits: Data, teacher: Path, placement: Placement, recipe: Any, run_cli: Any, tmp_path: Path
) -> None:
    observer, path = Recorder(), tmp_path / "l.safetensors"
    asked = job(digits, teacher, recipe(ema=0.9), keeping=Keeping(), evaluate_depths="1-4")
    learngene = learn_to_file(asked, placement, path, observer=observer)
    kept = feature_cosine_in(tleg.read_header(path).learned)
    assert kept is not None
    assert kept == feature_cosine_in(learngene.header.learned)
    assert (kept.teacher, kept.images, list(kept.figures)) == ("model", 320, [1, 2, 3, 4])
    # What the last evaluation of the training found, of the average of the weights and with the same projection.
    _, name, last = observer.evaluations[-1]
    assert name == "ema"
    for depth, score in last.items():
        assert kept.by_depth[str(depth)] == pytest.approx(score.cosine, abs=1e-4)
    assert [row.cosine for row in tleg.preview(path, [2, 4, 9]).rows] == [kept.figures[2], kept.figures[4], None]
    shown = run_cli("preview", path, "--depths", "2")
    assert shown.stdout.splitlines()[0].split()[-1] == "cosine"
    assert f"{kept.figures[2]:.3f}" in shown.stdout
    assert "cosine: with the features of model, on 320 images of" in shown.stderr
    assert f"2: {kept.figures[2]:.3f}," in run_cli("inspect", path).stdout


def test_the_cosine_of_the_best_is_through_its_own_projection(
    digits: Data, teacher: Path, placement: Placement, recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping, observer = Keeping(result="best", keep_last=9), Recorder()
    # The first, whose projection is another than that of the end.
    monkeypatch.setattr(Checkpoints, "best", lambda self: min(self.paths(), key=lambda path: path.name))
    asked = job(digits, teacher, recipe(epochs=3), keeping=keeping, evaluate_depths="2-3")
    checkpoints = Checkpoints(tmp_path / "checkpoints", keeping)
    learngene = learn_to_file(asked, placement, tmp_path / "l.safetensors", observer=observer, checkpoints=checkpoints)
    first, *_, last = [{depth: score.cosine for depth, score in scores.items()} for _, _, scores in observer.evaluations]
    kept = feature_cosine_in(learngene.header.learned)
    assert kept is not None
    assert kept.figures == pytest.approx(first, abs=1e-4)
    assert kept.figures != pytest.approx(last, abs=1e-2)


def test_descendants_give_features_and_get_a_head(learned: tuple[Learngene, Recorder]) -> None:
    learngene, _ = learned
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = learngene.expand(4)
    assert model(images).shape == (2, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), model.forward_head(model.forward_features(images), pre_logits=True))
    headed = learngene.expand(4, num_classes=5)
    assert headed(images).shape == (2, 5)
    torch.testing.assert_close(headed.forward_features(images), model.forward_features(images))
    with pytest.raises(InputError, match="a head has 1 to"):
        learngene.expand(4, num_classes=-1)


@pytest.mark.parametrize("init", [None, "scratch", "share", "tied", "layer-skip", "mimetic"])
def test_fine_tuning_and_baselines_give_it_a_head(
    learned: tuple[Learngene, Recorder], digits: Data, placement: Placement, recipe: Any, tmp_path: Path, init: str | None
) -> None:
    learned[0].save(tmp_path / "l.safetensors")
    few = replace(digits, train=first_images(digits.train, 128), validation=first_images(digits.validation, 100))
    start = init_from_learngene(str(tmp_path / "l.safetensors"), 3, init=init)
    assert start(few).lineage["head"] == "new"
    score = finetune(finetune_job(few, start, recipe=recipe(epochs=1)), placement, tmp_path / "out")
    assert score.images == 100


def test_a_learngene_without_a_head_is_a_start(
    learned: tuple[Learngene, Recorder], digits: Data, teacher: Path, placement: Placement, recipe: Any, tmp_path: Path
) -> None:
    learned[0].save(tmp_path / "l.safetensors")
    with_labels = learn_job(digits, VIT, ARGUMENTS, start=str(tmp_path / "l.safetensors"), recipe=recipe())
    assert prepare(with_labels, placement).header.learned["start"]["head"] == "new"
    again = job(digits, teacher, recipe(epochs=1), start=str(tmp_path / "l.safetensors"))
    observer = Recorder()
    learn(again, placement, observer=observer)
    assert (observer.reports[0].loss or 9) < 1.2


def test_resume_is_exact_and_the_checkpoint_has_the_projection(
    digits: Data, teacher: Path, placement: Placement, recipe: Any, tmp_path: Path
) -> None:
    whole = learn(job(digits, teacher, recipe(ema=0.9)), placement)
    checkpoints = Checkpoints(tmp_path / "checkpoints", Keeping(checkpoint_steps=3))
    with pytest.raises(TrainingStoppedError):
        learn(job(digits, teacher, recipe(ema=0.9)), placement, checkpoints=checkpoints, observer=Recorder(stop_after=4))
    stored = read_checkpoint(checkpoints.paths()[0]).tensors
    assert stored["model"]["projection.weight"].shape == (48, 32)
    assert not [name for name in stored["ema"] if "projection" in name]
    resumed = learn(job(digits, teacher, recipe(ema=0.9)), placement, checkpoints=checkpoints)
    assert set(resumed.tensors) == set(whole.tensors)
    for name, values in whole.tensors.items():
        assert np.array_equal(values, resumed.tensors[name]), name


def test_labels_are_not_looked_at(digits: Data, teacher: Path, placement: Placement, recipe: Any) -> None:
    found = []
    for data in (unlabelled(digits), replace(unlabelled(digits), classes=digits.classes)):
        made = replace(job(digits, teacher, recipe(epochs=1)), data=data)
        found.append(learn(made, placement))
    assert found[0].header.architecture == found[1].header.architecture
    assert all(np.array_equal(values, found[1].tensors[name]) for name, values in found[0].tensors.items())


def test_sandwiches_follow_the_deepest(digits: Data, teacher: Path, placement: Placement, recipe: Any) -> None:
    observer = Recorder()
    depths = Depths(4, (2, 3, 4), "sandwich")
    learn(job(digits, teacher, recipe(epochs=1), depths=depths), placement, observer=observer)
    assert 0 < (observer.reports[-1].loss or 0) < 2


def test_a_teacher_of_the_same_width_needs_no_projection(
    learned: tuple[Learngene, Recorder], digits: Data, placement: Placement, recipe: Any, tmp_path: Path
) -> None:
    """And it may be a backbone, as those that were trained without labels are."""
    learned[0].save(tmp_path / "l.safetensors")
    (built,) = tleg.build(tmp_path / "l.safetensors", [3], output=tmp_path / "built")
    given = job(digits, built.path, recipe(epochs=1), distillation=Distillation("embedding", projection="none"))
    assert learn(given, placement).header.learned["ancestry"]["features"] == 32


def test_an_embedding_of_another_size_without_a_projection_is_refused(
    digits: Data, teacher: Path, placement: Placement, recipe: Any
) -> None:
    given = job(digits, teacher, recipe(), distillation=Distillation("embedding", projection="none"))
    with pytest.raises(InputError, match="embeddings of 48 values and the student of 32") as error:
        prepare(given, placement)
    assert (error.value.code, error.value.field) == ("mismatch", "projection")


def test_a_teacher_without_features_is_refused() -> None:
    with pytest.raises(TeacherError, match="gives no features") as error:
        _ = Teacher(nn.Sequential(nn.Flatten()), TeacherReport("flat", None), (1, 8, 8)).feature_size
    assert (error.value.code, error.value.fields) == ("unsupported", ("distillation", "teacher"))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.ones(4, 3), "same for all of 4 images"),
        (torch.tensor([[1.0, 2, 3], [1, torch.nan, 3]]), "not finite .* for 1 of 2 images"),
        (torch.randn(4, 5, 3), "no pooled features of 3 values"),
    ],
)
def test_features_that_teach_nothing_are_refused(outputs: torch.Tensor, message: str) -> None:
    check = FeatureCheck()
    check.add(outputs, torch.zeros(len(outputs)))
    with pytest.raises(TeacherError, match=message):
        check.refuse("it", 3)


def test_features_that_differ_are_not() -> None:
    check = FeatureCheck()
    check.add(torch.ones(1, 3), torch.zeros(1))
    check.add(torch.full((1, 3), 2.0), torch.zeros(1))
    check.refuse("it", 3)


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"weight": 0.5}, "conflict", "distillation-weight"),
        ({"method": "soft", "projection": "none"}, "conflict", "projection"),
    ],
)
def test_distillations_that_mean_nothing_are_refused(given: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(InputError) as error:
        Distillation(**{"method": "embedding", **given})
    assert (error.value.code, error.value.field) == (code, field)


def test_an_evaluation_reads_as_a_cosine() -> None:
    report = EvaluationReport(epoch=3, scores=(DepthScore(depth=4, cosine=0.91234), DepthScore(depth=8, cosine=0.95)))
    assert format_evaluation(report) == "epoch 3: cosine 0.912 at depth 4, 0.950 at depth 8"
    assert report.monitored == pytest.approx(0.93117)
    assert (report.top1, report.averaged, format_reached(report)) == (None, 2, "cosine 0.931")
    accuracy = EvaluationReport(scores=(DepthScore(depth=4, top1=81.2),))
    assert (accuracy.cosine, accuracy.monitored, format_reached(accuracy)) == (None, 81.2, "81.20 %")
    # In a column of tables, where the title says top-1.
    assert [format_top1(each) for each in (report, accuracy, None)] == ["cos .93", "81.20", ""]
    assert [format_top1(EvaluationReport(scores=(DepthScore(cosine=each),))) for each in (-0.5, 0.999)] == [
        "cos -.5",
        "cos 1.0",
    ]


@pytest.mark.parametrize("name", ["convnext_atto", "swin_tiny_patch4_window7_224", "resnet18"])
def test_families_of_several_stages_do_without_a_head(name: str) -> None:
    from tleg.errors import ArchitectureError
    from tleg.models.architecture import build, describe

    if name == "resnet18":
        with pytest.raises(ArchitectureError):
            describe(name, {}, 0)
        return
    architecture = describe(name, {}, 0)
    profile = architecture.profile(2)
    assert build(architecture, profile, device="meta").num_classes == 0
    assert create_model(name, num_classes=0).num_classes == 0
