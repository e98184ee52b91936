"""Losses: timm's for labels, soft distillation for a teacher's logits."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Recipe


def task_loss(recipe: Recipe) -> nn.Module:
    """Return the loss for labels: for mixed labels (N, classes) when images are mixed, else for indices (N,), smoothed."""
    from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

    if recipe.mixing:
        return cast(nn.Module, SoftTargetCrossEntropy())
    if recipe.label_smoothing:
        return cast(nn.Module, LabelSmoothingCrossEntropy(recipe.label_smoothing))
    return nn.CrossEntropyLoss()


def distillation_loss(student: Tensor, teacher: Tensor, distillation: Distillation) -> Tensor:
    """Return T^2 * KL(teacher || student) of logits (N, classes), a scalar in float32 (Hinton et al., section 2).

    'batchmean' is the mean over images; 'official' the mean over images and classes (DistillationLoss of the official code).
    """
    temperature = distillation.temperature
    divergence = F.kl_div(
        F.log_softmax(student.float() / temperature, dim=1),
        F.log_softmax(teacher.float() / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )
    count = student.numel() if distillation.normalisation == "official" else student.shape[0]
    return divergence * (temperature**2 / count)


def hard_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross entropy of logits (N, classes) with the teacher's choices, a scalar (DeiT, arXiv 2012.12877)."""
    return F.cross_entropy(student.float(), teacher.argmax(dim=1))


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared distance of features (N, size), a scalar in float32 (FitNets, arXiv 1412.6550)."""
    return F.mse_loss(student.float(), teacher.float())


def combine(task: Tensor, distilled: Tensor | None, distillation: Distillation) -> Tensor:
    """Return (1 - weight) * task + weight * distilled, or the task loss when nothing is distilled."""
    if distilled is None:
        return task
    return torch.lerp(task.float(), distilled, distillation.weight)
