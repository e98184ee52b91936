"""Recipes: every number that a training follows, checked before it starts."""

import math
from dataclasses import dataclass, field
from typing import Literal

from tleg.basis import check_depth
from tleg.data.transforms import Augmentation
from tleg.errors import InputError

Normalisation = Literal["batchmean", "official"]
# The paper's: 5e-4 for 512 images a step (facebookresearch/deit).
BASE_LEARNING_RATE = 5e-4
BASE_BATCH = 512


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    epochs           passes over the training images
    batch_size       images a step
    learning_rate    the peak; None is the paper's rule, 5e-4 * batch_size / 512
    minimum_rate     where the cosine schedule ends, as a part of the peak
    warmup_epochs    epochs of linear warm-up from a thousandth of the peak; may be a fraction; None is one epoch, but
                     never more than a fifth of all
    weight_decay     AdamW's, not applied to biases, norms, tokens and embeddings
    clip_gradient    the largest gradient norm, or None
    label_smoothing  in 0..1
    mixup, cutmix    timm's alphas; 0 is off
    seed             decides everything random
    workers          processes that prepare images; the result does not depend on it
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float | None = None
    minimum_rate: float = 0.02
    warmup_epochs: float | None = None
    weight_decay: float = 0.05
    clip_gradient: float | None = 1.0
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    seed: int = 0
    workers: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _check("epochs", self.epochs, 1, 100_000)
        _check("batch size", self.batch_size, 1, 1_000_000)
        _check("workers", self.workers, 0, 256)
        _check("warm-up epochs", self.warmup, 0, self.epochs)
        _check("weight decay", self.weight_decay, 0, 10)
        _check("label smoothing", self.label_smoothing, 0, 0.999)
        _check("minimum rate", self.minimum_rate, 0, 1)
        _check("seed", self.seed, 0, 2**31 - 1)
        _check("smallest crop", self.augmentation.crop_scale, 0.001, 1)
        _check("random erasing", self.augmentation.random_erasing, 0, 1)
        _check("flip", self.augmentation.flip, 0, 1)
        _check("mixup", self.mixup, 0, 100)
        _check("cutmix", self.cutmix, 0, 100)
        if self.learning_rate is not None:
            _check("learning rate", self.learning_rate, 1e-12, 100)
        if self.clip_gradient is not None:
            _check("gradient norm", self.clip_gradient, 1e-6, 1e9)
        if (self.mixup or self.cutmix) and self.batch_size % 2:
            raise InputError(f"mixup and cutmix pair images, so the batch size must be even, not {self.batch_size}")

    @property
    def warmup(self) -> float:
        """The epochs of warm-up in force."""
        return min(1.0, self.epochs / 5) if self.warmup_epochs is None else self.warmup_epochs

    @property
    def peak_rate(self) -> float:
        """The learning rate in force."""
        return BASE_LEARNING_RATE * self.batch_size / BASE_BATCH if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True, slots=True)
class Distillation:
    """Soft distillation (Hinton et al., arXiv 1503.02531): (1 - weight) * task loss + weight * T^2 * KL(teacher || student).

    normalisation  'batchmean' divides the divergence by the images, as it is defined; 'official' also by the classes, as the
                   official code does (which makes it classes times weaker)
    """

    temperature: float = 1.0
    weight: float = 1.0
    normalisation: Normalisation = "batchmean"

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, 0.01, 1000)
        _check("distillation weight", self.weight, 0, 1)
        if self.normalisation not in ("batchmean", "official"):
            raise InputError(f"unknown normalisation '{self.normalisation}': choose batchmean or official")


@dataclass(frozen=True, slots=True)
class Depths:
    """At which depths an auxiliary model is trained: the paper's fixed depth, or one drawn at every step."""

    auxiliary: int = 12
    sampled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for depth in (self.auxiliary, *self.sampled):
            check_depth(depth)
        if self.sampled and self.auxiliary not in self.sampled:
            raise InputError(
                f"the auxiliary depth {self.auxiliary} is not one of the sampled depths, so it is never trained"
            )

    @property
    def choices(self) -> tuple[int, ...]:
        """The depths that a step may have."""
        return self.sampled or (self.auxiliary,)


def _check(name: str, value: float, least: float, most: float) -> None:
    if not math.isfinite(value) or not least <= value <= most:
        raise InputError(f"{name} must be from {least:g} to {most:g}, not {value:g}")
