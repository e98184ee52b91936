"""What a step changes: weights, optimiser, learning rate, loss scale, the average of the weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tleg.recipes.training import Recipe
from tleg.training.checkpoints import Checkpoint
from tleg.training.device import Placement
from tleg.training.optimisation import load_optimizer_tensors, make_optimizer, make_schedule, optimizer_tensors
from tleg.training.students import Student


class TrainingState:
    """The state of a training between two steps, all of which a checkpoint holds.

    trained  the parameters that are trained
    rate     the learning rate of the last step (of the top layer, with layer-wise decay)
    norm     the gradient norm of the last step, before clipping: a scalar on the device
    """

    def __init__(
        self, student: Student, recipe: Recipe, placement: Placement, steps_per_epoch: int, layer_decay: float
    ) -> None:
        self.student = student
        self.trained = [value for value in student.parameters() if value.requires_grad]
        self.optimizer = make_optimizer(student.model, recipe, layer_decay)
        if student.projection is not None:
            self.optimizer.add_param_group(
                {"params": list(student.projection.parameters()), "weight_decay": 0.0, "lr": recipe.peak_rate}
            )
        self._schedule = make_schedule(self.optimizer, recipe, steps_per_epoch)
        self._scaler = torch.amp.GradScaler("cuda") if placement.precision == "float16" else None
        self._average = _average(student.model, recipe)
        self._limit = recipe.clip_gradient or float("inf")
        self.rate = 0.0
        self.norm = torch.zeros((), device=placement.device)

    @property
    def models(self) -> dict[str, nn.Module]:
        """The trained 'model' and, where it is kept, its average 'ema'."""
        models = {"model": self.student.model}
        return models if self._average is None else {**models, "ema": self._average.module}

    @property
    def result(self) -> nn.Module:
        """The model whose weights are kept: the average, where there is one."""
        return list(self.models.values())[-1]

    @property
    def scale(self) -> float | None:
        """float16's loss scale."""
        return None if self._scaler is None else float(self._scaler.get_scale())

    @property
    def scaler_state(self) -> dict[str, Any] | None:
        """float16's loss scale with its counters."""
        return None if self._scaler is None else dict(self._scaler.state_dict())

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss to differentiate."""
        scaled: Tensor = loss if self._scaler is None else self._scaler.scale(loss)
        return scaled

    def update(self, step: int) -> None:
        """Make the step (counted from 0) that the gradients ask for."""
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        self.norm = nn.utils.clip_grad_norm_(self.trained, self._limit)
        self.rate = max(group["lr"] for group in self.optimizer.param_groups)
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self._schedule.step_update(step + 1)
        if self._average is not None:
            self._average.update(self.student.model, step + 1)

    def contents(self) -> tuple[dict[str, Mapping[str, Tensor]], Mapping[str, Any]]:
        """Return what a checkpoint stores: tensors by group, and the optimiser's numbers that are no tensors."""
        tensors, numbers = optimizer_tensors(self.optimizer, dict(self.student.named_parameters()))
        groups: dict[str, Mapping[str, Tensor]] = {"model": self.student.state_dict(), "optimizer": tensors}
        if self._average is not None:
            groups["ema"] = self._average.module.state_dict()
        return groups, numbers

    def load(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state, strictly: RuntimeError names what does not fit."""
        tensors, progress = checkpoint.tensors, checkpoint.progress
        self.student.load_state_dict(tensors["model"], strict=True)
        load_optimizer_tensors(
            self.optimizer, tensors["optimizer"], progress.optimizer, dict(self.student.named_parameters())
        )
        if self._average is not None:
            self._average.module.load_state_dict(tensors["ema"], strict=True)
        if self._scaler is not None and progress.scaler is not None:
            self._scaler.load_state_dict(dict(progress.scaler))
        # A timm schedule is a function of the step.
        self._schedule.step_update(progress.step)


def _average(model: nn.Module, recipe: Recipe) -> Any | None:
    """timm's moving average; its warm-up makes it useful within hundreds of steps."""
    if not recipe.ema:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=recipe.ema, use_warmup=True)
