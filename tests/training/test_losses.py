"""Losses against their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import InputError
from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Recipe
from tleg.training.losses import combine, distillation_loss, task_loss


@given(st.integers(1, 8), st.integers(2, 30), st.floats(0.5, 8), st.integers(0, 10_000))
def test_distillation_is_the_divergence_by_definition(images: int, classes: int, temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    teacher = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    p, q = (teacher / temperature).softmax(1), (student / temperature).softmax(1)
    expected = temperature**2 * (p * (p / q).log()).sum(1).mean().item()
    found = distillation_loss(student, teacher, Distillation(temperature=temperature)).item()
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    official = distillation_loss(student, teacher, Distillation(temperature=temperature, normalisation="official")).item()
    assert official == pytest.approx(found / classes, rel=1e-6)


def test_a_perfect_student_has_no_loss() -> None:
    logits = torch.randn(4, 10)
    assert distillation_loss(logits, logits + 3, Distillation(temperature=2.0)).item() == pytest.approx(0, abs=1e-6)


def test_the_weight_divides_between_teacher_and_labels() -> None:
    task, distilled = torch.tensor(3.0), torch.tensor(1.0)
    assert combine(task, distilled, Distillation(weight=0.25)).item() == pytest.approx(0.75 * 3 + 0.25 * 1)
    assert combine(task, distilled, Distillation(weight=1.0)).item() == 1.0
    assert combine(task, None, Distillation(weight=1.0)).item() == 3.0


def test_mixed_labels_get_a_loss_for_mixed_labels() -> None:
    # The official code looks at mixup alone: with cutmix alone it feeds mixed labels to a loss for indices.
    logits = torch.tensor([[2.0, 0.0, 0.0]])
    mixed = torch.tensor([[0.6, 0.4, 0.0]])
    expected = -(mixed * logits.log_softmax(1)).sum().item()
    for recipe in (Recipe(cutmix=1.0), Recipe(mixup=0.8)):
        assert task_loss(recipe)(logits, mixed).item() == pytest.approx(expected)


def test_labels_are_smoothed_as_asked() -> None:
    logits, label = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([1])
    negative = -logits.log_softmax(1)[0]
    assert task_loss(Recipe(label_smoothing=0.0))(logits, label).item() == pytest.approx(negative[1].item())
    smoothed = 0.8 * negative[1] + 0.2 * negative.mean()
    assert task_loss(Recipe(label_smoothing=0.2))(logits, label).item() == pytest.approx(smoothed.item())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be from 1"),
        ({"batch_size": 0}, "batch-size"),
        ({"learning_rate": 0.0}, "lr must be"),
        ({"learning_rate": math.nan}, "lr must be"),
        ({"warmup_epochs": 40}, "warmup-epochs must be from 0 to 30"),
        ({"workers": -1}, "workers"),
        ({"label_smoothing": 1.0}, "label-smoothing"),
        ({"mixup": 0.5, "batch_size": 33}, "must be even"),
        ({"seed": -1}, "seed"),
    ],
)
def test_recipes_are_checked(options: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"weight": 1.5}, {"normalisation": "mean"}])
def test_distillation_is_checked(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Distillation(**options)  # type: ignore[arg-type]


def test_the_default_rate_follows_the_batch() -> None:
    assert Recipe(batch_size=1024).peak_rate == pytest.approx(1e-3)
    assert Recipe(batch_size=1024, learning_rate=3e-4).peak_rate == 3e-4
