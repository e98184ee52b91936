"""What a step minimises: timm's loss for the labels, distillation losses for the teacher's answers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Recipe
from tleg.training.device import Placement
from tleg.training.students import Output, Student
from tleg.training.teacher import Teacher


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


def embedding_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - cos(student, teacher), the mean over images of features (N, size), a scalar in float32, in 0..2."""
    return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=1).mean()


def combine(task: Tensor, distilled: Tensor | None, distillation: Distillation) -> Tensor:
    """Return (1 - weight) * task + weight * distilled, or the task loss when nothing is distilled."""
    if distilled is None:
        return task
    return torch.lerp(task.float(), distilled, distillation.weight)


class Losses(NamedTuple):
    """Scalars in float32: what is minimised, and its parts where there are any; without labels the task is the teacher's."""

    total: Tensor
    task: Tensor
    distillation: Tensor | None = None


class Objective:
    """The losses of a student on a batch."""

    def __init__(self, recipe: Recipe, distillation: Distillation, teacher: Teacher | None) -> None:
        self.distillation = distillation
        # A teacher of no weight is not asked.
        self.teacher = teacher if distillation.weight > 0 else None
        self.task = task_loss(recipe)

    def losses(
        self,
        student: Student,
        normalise: nn.Module,
        pixels: Tensor,
        labels: Tensor,
        depths: Sequence[int | None],
        placement: Placement,
        image_size: tuple[int, int] | None = None,
    ) -> Iterator[Losses]:
        """Yield the losses at each depth, to be differentiated one after the other, so that one graph is held at a time.

        pixels (N, C, H, W) in 0..1; labels (N,), or (N, classes) where images are mixed. The teacher sees the same images
        with its own normalisation. The first depth learns from labels and teacher, the others from the first.

        image_size  height and width in which the student sees them; None is as they are
        """
        first, *others = depths
        if self.distillation.embeds:
            yield from self._embedding_losses(student, normalise, pixels, depths, placement, image_size)
            return
        wants_features = self.teacher is not None and self.distillation.method == "feature"
        with placement.autocast():
            images = _as_seen(normalise, pixels, image_size)
            output: Output = student(images, first, wants_features)
            distilled = None if self.teacher is None else self._distilled(output, self.teacher, pixels)
        task: Tensor = self.task(output.logits.float(), labels)
        yield Losses(combine(task, distilled, self.distillation), task.detach(), _detached(distilled))
        soft = Distillation(temperature=self.distillation.temperature)
        target = output.logits.detach()
        for depth in others:
            with placement.autocast():
                logits = student(images, depth).logits
            followed = distillation_loss(logits, target, soft)
            yield Losses(followed, task.detach(), followed.detach())

    def _embedding_losses(
        self,
        student: Student,
        normalise: nn.Module,
        pixels: Tensor,
        depths: Sequence[int | None],
        placement: Placement,
        image_size: tuple[int, int] | None,
    ) -> Iterator[Losses]:
        """The losses where features are all that is learned: the others follow the first depth's, projected as they are."""
        assert self.teacher is not None
        with placement.autocast():
            images = _as_seen(normalise, pixels, image_size)
            target = self.teacher.embed(pixels)
        for index, depth in enumerate(depths):
            with placement.autocast():
                features = student(images, depth, True).features
            loss = embedding_loss(features, target)
            yield Losses(loss, loss.detach(), loss.detach())
            if index == 0:
                target = features.detach()

    def _distilled(self, output: Output, teacher: Teacher, pixels: Tensor) -> Tensor:
        method = self.distillation.method
        if method == "feature":
            logits, features = teacher.features(pixels)
            assert output.features is not None
            soft = distillation_loss(output.logits, logits, self.distillation)
            return soft + self.distillation.feature_weight * feature_loss(output.features, features)
        logits = teacher(pixels)
        if method == "hard":
            return hard_loss(output.logits, logits)
        if method == "token":
            assert output.token_logits is not None
            return distillation_loss(output.token_logits, logits, self.distillation)
        return distillation_loss(output.logits, logits, self.distillation)


def _as_seen(normalise: nn.Module, pixels: Tensor, image_size: tuple[int, int] | None) -> Tensor:
    """Pixel values, normalised, in the size of a step."""
    images: Tensor = normalise(pixels)
    if image_size is not None and image_size != tuple(images.shape[2:]):
        images = F.interpolate(images, image_size, mode="bilinear", align_corners=False, antialias=True)
    return images


def _detached(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach()


def mean_losses(losses: Sequence[Losses]) -> Losses:
    """Return the mean of each part over the parts of a step."""
    distilled = [each.distillation for each in losses if each.distillation is not None]
    return Losses(
        torch.stack([each.total.detach() for each in losses]).mean(),
        torch.stack([each.task for each in losses]).mean(),
        torch.stack(distilled).mean() if distilled else None,
    )
