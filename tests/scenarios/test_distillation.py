"""What a teacher's knowledge does to a student: soft, hard, feature and token distillation."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional as F

from tests.training.conftest import ARGUMENTS, VIT, Recorder, finetune_job, learn_job
from tleg.data.datasets import Data
from tleg.data.fashion_mnist import ArrayImages
from tleg.data.transforms import Normaliser
from tleg.errors import InputError, TeacherError
from tleg.learngene.basis import Basis
from tleg.learngene.header import Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.recipes.distillation import METHODS, Depths, Distillation
from tleg.recipes.training import Recipe
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_learngene, init_from_timm
from tleg.training.learn import evaluate_learngene, learn
from tleg.training.losses import Objective
from tleg.training.students import AuxiliaryStudent, PlainStudent
from tleg.training.teacher import Teacher, TeacherReport

MakeRecipe = Callable[..., Recipe]
RESNET = {"in_chans": 1, "channels": [16, 16, 32, 32], "stem_width": 16}


@pytest.fixture(scope="module")
def ancestor(digits: Data, placement: Placement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small residual network that knows the digits."""
    from tests.training.conftest import PLAIN

    folder = tmp_path_factory.mktemp("ancestor") / "resnet"
    recipe = Recipe(epochs=6, batch_size=64, learning_rate=4e-3, workers=0, augmentation=PLAIN)
    score = finetune(finetune_job(digits, init_from_timm("resnet10t", RESNET), recipe=recipe), placement, folder)
    assert score.top1 is not None
    assert score.top1 > 70
    return folder


@pytest.mark.parametrize("method", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("soft", "hard")), "feature"])
def test_a_student_learns_from_its_teacher_alone(
    digits: Data, placement: Placement, recipe: MakeRecipe, ancestor: Path, method: str
) -> None:
    # The labels are wrong on purpose: all that the student can know comes from the teacher.
    shuffled = ArrayImages(digits.train.images, np.roll(digits.train.labels, 1))  # type: ignore[attr-defined]
    recorder = Recorder()
    job = learn_job(
        replace(digits, train=shuffled),
        VIT,
        ARGUMENTS,
        teacher=str(ancestor),
        depths=Depths(3),
        distillation=Distillation(method=method),
        recipe=recipe(epochs=10, batch_size=32),
    )
    learngene = evaluate_learngene(learn(job, placement, observer=recorder), digits, placement, (3,))
    assert learngene.header.reached is not None
    assert learngene.header.reached.top1[3] > 35
    assert learngene.header.learned["distillation"]["method"] == method
    last = recorder.reports[-1]
    assert last.distillation_loss == pytest.approx(last.loss, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["soft", "feature"])
def test_a_descendant_is_fine_tuned_with_a_teacher(
    digits: Data, placement: Placement, recipe: MakeRecipe, ancestor: Path, tmp_path: Path, method: str, tiny_learngene: Any
) -> None:
    # The labels are wrong on purpose, as above.
    shuffled = ArrayImages(digits.train.images, np.roll(digits.train.labels, 1))  # type: ignore[attr-defined]
    learngene = tiny_learngene(arguments={"img_size": 8, "patch_size": 2, "in_chans": 1}, num_classes=10)
    learngene.save(tmp_path / "gene.safetensors")
    job = finetune_job(
        replace(digits, train=shuffled),
        init_from_learngene(str(tmp_path / "gene.safetensors"), 3),
        teacher=str(ancestor),
        distillation=Distillation(method=method),
        recipe=recipe(epochs=10, batch_size=32),
    )
    reached = finetune(job, placement, tmp_path / "tuned").top1
    assert reached is not None
    assert reached > 35
    record = json.loads((tmp_path / "tuned" / "training.json").read_text())
    assert record["teacher"]["name"] == "resnet"
    assert record["distillation"]["method"] == method


def test_a_distillation_token_learns_from_the_teacher(
    digits: Data, placement: Placement, recipe: MakeRecipe, ancestor: Path, tmp_path: Path
) -> None:
    start = init_from_timm("deit_tiny_distilled_patch16_224", {**ARGUMENTS, "depth": 2})
    job = finetune_job(
        digits,
        start,
        teacher=str(ancestor),
        distillation=Distillation(method="token", weight=0.5),
        recipe=recipe(epochs=6, batch_size=32, learning_rate=3e-3),
    )
    recorder = Recorder()
    score = finetune(job, placement, tmp_path / "deit", observer=recorder)
    assert score.top1 is not None
    assert score.top1 > 40
    last = recorder.reports[-1]
    assert last.distillation_loss is not None
    assert last.task_loss is not None
    assert last.loss == pytest.approx(0.5 * last.task_loss + 0.5 * last.distillation_loss, rel=1e-5)
    loaded: Any = timm.create_model(f"local-dir:{tmp_path / 'deit'}", pretrained=True)
    assert hasattr(loaded, "head_dist")


def test_token_distillation_needs_a_token() -> None:
    with pytest.raises(InputError, match="token distillation needs a model with a distillation token, such as"):
        PlainStudent(timm.create_model(VIT, **ARGUMENTS, depth=1), token=True)


def make_teacher(name: str = "vit_tiny_patch16_224", **arguments: Any) -> Teacher:
    torch.manual_seed(1)
    model: Any = timm.create_model(name, num_classes=10, **arguments)
    if "img_size" in arguments:
        model.pretrained_cfg = {**model.pretrained_cfg, "input_size": (3, arguments["img_size"], arguments["img_size"])}
    return Teacher(model, TeacherReport(name, None))


@pytest.mark.parametrize(
    ("name", "arguments", "size"),
    [
        ("resnet10t", {"channels": [8, 8, 8, 16], "stem_width": 8}, 16),
        (VIT, {"img_size": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "depth": 2}, 32),
        ("levit_128s", {}, 384),
    ],
)
def test_features_are_what_the_classifier_sees(name: str, arguments: dict[str, Any], size: int) -> None:
    teacher = make_teacher(name, **arguments)
    pixels = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    logits, features = teacher.features(pixels)
    assert torch.equal(logits, teacher(pixels))
    assert features.shape == (2, size)
    assert teacher.feature_size == size
    assert not features.requires_grad


def test_a_teacher_without_features_says_so() -> None:
    class Bare(torch.nn.Module):
        pretrained_cfg: dict[str, Any] = {}  # noqa: RUF012

    with pytest.raises(TeacherError, match="gives no features; use another one, or --distillation soft"):
        _ = Teacher(Bare(), TeacherReport("bare", None)).feature_size


def test_a_teacher_keeps_its_own_pooling_and_normalisation() -> None:
    # The official code pools the tokens of every teacher, and shows it images normalised for the student.
    teacher = make_teacher(img_size=32, patch_size=8, embed_dim=32, num_heads=2, depth=1)
    model: Any = teacher.model
    assert model.global_pool == "token"
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    config = model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = model.eval()((pixels - mean) / std)
    assert torch.equal(teacher(pixels), expected)
    assert not teacher.train().model.training


@pytest.fixture
def student() -> AuxiliaryStudent:
    torch.manual_seed(0)
    model = AuxiliaryModel(describe(VIT, {**ARGUMENTS, "in_chans": 3}, 10), Basis())
    return AuxiliaryStudent(model, Depths(4, (2, 3, 4), "sandwich"), 0, 8)


def losses_of(student: AuxiliaryStudent, teacher: Teacher | None, distillation: Distillation, depths: Any) -> list[Any]:
    objective = Objective(Recipe(label_smoothing=0.0), distillation, teacher)
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    placement = Placement(torch.device("cpu"), "float32", "")
    labels = torch.tensor([1, 2, 3, 4])
    normalise = Normaliser(Preprocessing((0.4,) * 3, (0.3,) * 3))
    return list(objective.losses(student, normalise, pixels, labels, depths, placement))


@pytest.mark.parametrize("method", METHODS[:3])
def test_the_parts_of_the_loss(student: AuxiliaryStudent, method: str) -> None:
    teacher = make_teacher(img_size=8, patch_size=4, embed_dim=16, num_heads=2, depth=1)
    student.project_to(teacher.feature_size)
    distillation = Distillation(method=method, temperature=2.0, weight=0.3, feature_weight=5.0)
    ((total, task, distilled),) = losses_of(student, teacher, distillation, (3,))
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    output = student((pixels - 0.4) / 0.3, 3, True)
    logits, features = teacher.features(pixels)
    soft = 4 * F.kl_div((output.logits / 2).log_softmax(1), (logits / 2).softmax(1), reduction="batchmean")
    expected = {
        "soft": soft,
        "hard": F.cross_entropy(output.logits, logits.argmax(1)),
        "feature": soft + 5 * F.mse_loss(output.features, features),
    }[method]
    labels_loss = F.cross_entropy(output.logits, torch.tensor([1, 2, 3, 4]))
    assert task.item() == pytest.approx(labels_loss.item(), rel=1e-5)
    assert distilled.item() == pytest.approx(expected.item(), rel=1e-3)
    assert total.item() == pytest.approx(0.7 * labels_loss.item() + 0.3 * expected.item(), rel=1e-4)


def test_in_a_sandwich_the_deepest_teaches_the_others(student: AuxiliaryStudent) -> None:
    first, second = losses_of(student, None, Distillation(), (4, 2))
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    deep, shallow = (student((pixels - 0.4) / 0.3, depth).logits for depth in (4, 2))
    followed = F.kl_div(shallow.log_softmax(1), deep.detach().softmax(1), reduction="batchmean")
    assert second.total.item() == pytest.approx(followed.item(), abs=1e-6)
    assert first.total.item() == pytest.approx(F.cross_entropy(deep, torch.tensor([1, 2, 3, 4])).item(), rel=1e-5)
    # The deepest does not move towards its pupils.
    second.total.backward()
    gradient = student.model.terms["mlp/fc1/weight"].grad
    assert gradient is not None
    student.zero_grad()
    followed = F.kl_div(
        student((pixels - 0.4) / 0.3, 2).logits.log_softmax(1), deep.detach().softmax(1), reduction="batchmean"
    )
    followed.backward()
    torch.testing.assert_close(gradient, student.model.terms["mlp/fc1/weight"].grad, rtol=1e-4, atol=1e-7)


def test_a_teacher_of_no_weight_is_not_asked(student: AuxiliaryStudent) -> None:
    class Silent(Teacher):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    model = timm.create_model(VIT, img_size=8, patch_size=4, embed_dim=16, num_heads=2, depth=1, num_classes=10)
    silent = Silent(model, TeacherReport("silent", None))
    ((total, task, distilled),) = losses_of(student, silent, Distillation(weight=0.0), (3,))
    assert total.item() == task.item()
    assert distilled is None
