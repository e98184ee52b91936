"""The training loop: steps over augmented batches, the same for auxiliary models, descendants and ancestry models."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tleg.data.dataset import ImageSet
from tleg.data.loading import batches, use_one_thread
from tleg.data.order import ShuffledBatches, TrainingImages, seed_everything
from tleg.data.transforms import training_transform
from tleg.errors import DataError, TlegError
from tleg.header import Preprocessing
from tleg.recipes.distillation import Distillation
from tleg.recipes.training import Recipe
from tleg.training.device import Placement
from tleg.training.losses import combine, distillation_loss, task_loss
from tleg.training.teacher import Teacher

# (normalised images, step) -> logits. The step is what a sampled depth depends on.
Forward = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did, and how fast steps were since the report before. The learning rate is the one that the step used."""

    step: int
    steps: int
    epoch: int
    epochs: int
    learning_rate: float
    images_per_second: float
    loss: float


Progress = Callable[[StepReport], None]


class Normaliser(nn.Module):
    """Pixel values in 0..1 to the model's inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (N, C, H, W) -> (pixels - mean) / std."""
        return (pixels - self.mean) / self.std


def train(
    model: nn.Module,
    forward: Forward,
    images: ImageSet,
    recipe: Recipe,
    placement: Placement,
    *,
    input_size: tuple[int, int, int],
    preprocessing: Preprocessing,
    num_classes: int,
    teacher: Teacher | None = None,
    distillation: Distillation | None = None,
    progress: Progress | None = None,
) -> int:
    """Train the parameters of `model` in place and return the number of steps.

    Step s depends on the parameters before it, the recipe and s alone: everything random is seeded by its place.

    Raises DataError when there are too few images for a batch, TlegError when the loss is not finite.
    """
    distillation = distillation or Distillation()
    order = ShuffledBatches(len(images), recipe.batch_size, recipe.epochs, recipe.seed)
    check_enough(len(images), recipe.batch_size)
    loader = _loader(images, order, recipe, placement, input_size, preprocessing)
    optimizer = _optimizer(model, recipe)
    schedule = _schedule(optimizer, recipe, order.steps_per_epoch)
    mixup = _mixup(recipe, num_classes)
    labels_loss = task_loss(recipe)
    normalise = Normaliser(preprocessing).to(placement.device)
    model.train()
    started, read_at, read_step, loss_value = time.monotonic(), time.monotonic(), 0, math.nan
    for step, (pixels, labels) in enumerate(batches(loader)):
        seed_everything(recipe.seed, "step", step)
        pixels = pixels.to(placement.device, non_blocking=True)
        labels = labels.to(placement.device, non_blocking=True)
        if mixup is not None:
            pixels, labels = mixup(pixels, labels)
        with placement.autocast():
            logits = forward(normalise(pixels), step)
            distilled = None
            if teacher is not None and distillation.weight > 0:
                distilled = distillation_loss(logits, teacher(pixels), distillation)
        loss = combine(labels_loss(logits.float(), labels), distilled, distillation)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_gradient is not None:
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_gradient)
        optimizer.step()
        rate = optimizer.param_groups[0]["lr"]
        schedule.step_update(step + 1)
        now = time.monotonic()
        # Reading the loss makes a GPU wait, so it is read twice a second, and at the last step.
        if now - read_at >= 0.5 or step in (0, len(order) - 1):
            loss_value = loss.item()
            if not math.isfinite(loss_value):
                raise TlegError(f"the loss became {loss_value} at step {step + 1}; try a lower --lr or a longer warm-up")
            speed = (step + 1 - read_step) * recipe.batch_size / max(now - (read_at if read_step else started), 1e-9)
            read_at, read_step = now, step + 1
            if progress is not None:
                epoch = step // order.steps_per_epoch + 1
                progress(StepReport(step + 1, len(order), epoch, recipe.epochs, rate, speed, loss_value))
    model.eval()
    return len(order)


def check_enough(images: int, batch_size: int) -> None:
    """Refuse fewer training images than a batch holds. Raises DataError."""
    if images < batch_size:
        raise DataError(f"{images} training images are too few for a batch of {batch_size}; lower --batch-size")


def _loader(
    images: ImageSet,
    order: ShuffledBatches,
    recipe: Recipe,
    placement: Placement,
    input_size: tuple[int, int, int],
    preprocessing: Preprocessing,
) -> DataLoader[Any]:
    transform = training_transform(input_size, preprocessing, recipe.augmentation)
    return DataLoader(
        TrainingImages(images, transform, recipe.seed),
        batch_sampler=order,
        num_workers=recipe.workers,
        pin_memory=placement.device.type == "cuda",
        prefetch_factor=4 if recipe.workers else None,
        worker_init_fn=use_one_thread,
    )


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    from timm.optim import param_groups_weight_decay

    groups = param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=tuple(_undecayed(model)))
    return torch.optim.AdamW(groups, lr=recipe.peak_rate)


def _undecayed(model: nn.Module) -> Iterator[str]:
    """timm exempts vectors; the terms of a vector are a matrix, so they are exempt by name, as embeddings are."""
    exempt = getattr(model, "no_weight_decay", None)
    if callable(exempt):
        yield from exempt()
    for name, value in model.named_parameters():
        stacked_vector = name.startswith("terms.") and value.dim() == 2
        if stacked_vector or name.rpartition(".")[2] in ("pos_embed", "cls_token", "reg_token"):
            yield name


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> Any:
    from timm.scheduler import CosineLRScheduler

    steps = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup * steps_per_epoch), steps - 1)
    schedule = CosineLRScheduler(
        optimizer,
        t_initial=steps - warmup,
        lr_min=recipe.peak_rate * recipe.minimum_rate,
        warmup_t=warmup,
        warmup_lr_init=recipe.peak_rate / 1000,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    schedule.step_update(0)
    return schedule


def _mixup(recipe: Recipe, num_classes: int) -> Any | None:
    if not (recipe.mixup or recipe.cutmix):
        return None
    from timm.data import Mixup

    return Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=num_classes)
