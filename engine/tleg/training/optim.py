"""What a step changes: weights, optimizer, learning rate, loss scale, EMA; timm's optimizers and schedules."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from tleg.errors import FileFormatError, InputError
from tleg.recipes.training import Recipe
from tleg.training.checkpoint import Checkpoint
from tleg.training.device import Placement
from tleg.training.students import Student

_STEM = ("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre", "dist_token", "stem", "conv1", "bn1")


def freeze(model: nn.Module, frozen: Sequence[tuple[str, int | None]]) -> tuple[str, ...]:
    """Train neither stem nor blocks nor head, as asked, and return the names of the parameters that are left alone.

    frozen  pairs as `FinetuneRecipe.frozen` gives them: 'stem', 'blocks' (None: all, else the first so many), 'head'

    Raises InputError when the model has no such part, not as many blocks, or nothing is left to train.
    """
    chosen: set[str] = set()
    for part, count in frozen:
        names = set(_names(model, part, count))
        if not names:
            raise InputError(
                f"{type(model).__name__} has no {part} that could be frozen", field="freeze", code="unsupported"
            )
        chosen |= names
    for name, value in model.named_parameters():
        if name in chosen:
            value.requires_grad_(False)
    if not any(value.requires_grad for value in model.parameters()):
        raise InputError("everything is frozen; leave something to train", field="freeze", code="conflict")
    return tuple(name for name, _ in model.named_parameters() if name in chosen)


def _names(model: nn.Module, part: str, count: int | None) -> Iterator[str]:
    if part == "stem":
        yield from _under(model, _STEM)
    elif part == "head":
        config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
        classifier = config.get("classifier") or "head"
        yield from _under(model, (classifier,) if isinstance(classifier, str) else classifier)
    else:
        blocks = getattr(model, "blocks", None)
        if not isinstance(blocks, nn.Module):
            return
        depth = len(list(blocks.children()))
        if count is not None and not 1 <= count <= depth:
            raise InputError(
                f"freeze has blocks:{count}, and the model has {depth} blocks", field="freeze", code="out-of-range"
            )
        yield from _under(model, tuple(f"blocks.{index}" for index in range(depth if count is None else count)))


def _under(model: nn.Module, prefixes: Iterable[str]) -> Iterator[str]:
    for name, _ in model.named_parameters():
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
            yield name


# Between the name of a parameter and that of its state; no parameter's name has it.
_SEPARATOR = "|"
_GROUP = "group "
# What optimisers keep on the CPU, whatever the device of a parameter: counters, and products of numbers alone.
_ON_THE_CPU = frozenset({"step", "mu_product", "exp_avg_lr_1", "exp_avg_lr_2"})


def make_optimizer(model: nn.Module, recipe: Recipe, layer_decay: float = 1.0) -> torch.optim.Optimizer:
    """Return timm's optimiser for the parameters of a model that are trained.

    Weight decay spares biases, norms, tokens and embeddings; in an auxiliary model it acts on the terms. With layer decay,
    a layer's rate is layer_decay ** (layers above it), as timm groups layers (BEiT, arXiv 2106.08254, section 2.4); the
    schedule applies it. Raises InputError when the model has no layers that timm could tell apart.
    """
    from timm.optim import create_optimizer_v2, param_groups_layer_decay, param_groups_weight_decay

    spared = tuple(_spared(model))
    groups: list[dict[str, Any]]
    if layer_decay == 1:
        groups = list(param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=spared))
    else:
        if not hasattr(model, "group_matcher"):
            raise InputError(
                f"timm knows no order of the layers of {type(model).__name__}; leave --layer-decay at 1",
                field="layer-decay",
                code="unsupported",
            )
        groups = list(
            param_groups_layer_decay(model, recipe.weight_decay, no_weight_decay_list=spared, layer_decay=layer_decay)
        )
    groups = [group for group in groups if group["params"]]
    optimizer: torch.optim.Optimizer = create_optimizer_v2(groups, recipe.optimizer, lr=recipe.peak_rate)
    return optimizer


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int) -> Any:
    """Return timm's schedule over all steps: the rate of step s (from 0) is set by `step_update(s)` and by s alone.

    The warm-up rises with every step, from a thousandth of the peak; what follows it starts at the peak.
    """
    from timm.scheduler import CosineLRScheduler, PolyLRScheduler

    steps = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup * steps_per_epoch), steps - 1)
    common: dict[str, Any] = {
        "t_initial": steps - warmup,
        "warmup_t": warmup,
        "warmup_lr_init": recipe.peak_rate / 1000,
        "warmup_prefix": True,
        "t_in_epochs": False,
    }
    # A constant rate is a line that ends where it began.
    lowest = recipe.peak_rate * (1.0 if recipe.schedule == "constant" else recipe.minimum_rate)
    schedule: Any
    if recipe.schedule == "cosine":
        schedule = CosineLRScheduler(optimizer, lr_min=lowest, **common)
    else:
        schedule = PolyLRScheduler(optimizer, power=1.0, lr_min=lowest, **common)
    schedule.step_update(0)
    return schedule


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimiser's state: tensors by 'PARAMETER|NAME', and the numbers that are no tensors.

    parameters  the model's parameters by name, those of the optimiser among them
    """
    names = {id(value): name for name, value in parameters.items()}
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            place = f"{names[id(parameter)]}{_SEPARATOR}{key}"
            if isinstance(value, Tensor):
                tensors[place] = value
            else:
                numbers[place] = value
    # Some optimisers count their steps by group.
    for index, group in enumerate(optimizer.param_groups):
        if isinstance(group.get("step"), Tensor):
            tensors[f"{_GROUP}{index}{_SEPARATOR}step"] = group["step"]
    return tensors, numbers


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
    parameters: Mapping[str, Tensor],
) -> None:
    """Put a state from `optimizer_tensors` into an optimiser of the same kind over the same parameters.

    Raises FileFormatError naming the parameter that does not fit.
    """
    trained = {id(value) for group in optimizer.param_groups for value in group["params"]}
    optimizer.state.clear()
    for place, value in (*tensors.items(), *numbers.items()):
        name, _, key = place.rpartition(_SEPARATOR)
        if name.startswith(_GROUP):
            optimizer.param_groups[int(name.removeprefix(_GROUP))][key] = value.clone()
            continue
        parameter = parameters.get(name)
        if parameter is None or id(parameter) not in trained:
            raise FileFormatError(f"the checkpoint's optimiser has a state for '{name}', which is not trained here")
        if isinstance(value, Tensor):
            if value.dim() and parameter.dim() and value.shape[0] not in (1, parameter.shape[0]):
                raise FileFormatError(f"the checkpoint's optimiser has another size for '{name}'")
            value = value.clone() if key in _ON_THE_CPU else value.to(parameter.device)
        optimizer.state[parameter][key] = value


def _spared(model: nn.Module) -> Iterator[str]:
    """timm spares vectors; the terms of a vector are a matrix, so they are spared by name, as embeddings are."""
    exempt = getattr(model, "no_weight_decay", None)
    if callable(exempt):
        yield from exempt()
    for name, value in model.named_parameters():
        stacked_vector = name.startswith("terms.") and value.dim() == 2
        if stacked_vector or name.rpartition(".")[2] in ("pos_embed", "cls_token", "reg_token"):
            yield name


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
        self._ema = _make_ema(student.model, recipe)
        self._limit = recipe.clip_gradient or float("inf")
        self.rate = 0.0
        self.norm = torch.zeros((), device=placement.device)

    @property
    def models(self) -> dict[str, nn.Module]:
        """The trained 'model' and, with EMA, its average 'ema'."""
        models = {"model": self.student.model}
        return models if self._ema is None else {**models, "ema": self._ema.module}

    @property
    def result(self) -> nn.Module:
        """The model whose weights are the result: the average, with EMA."""
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
        if self._ema is not None:
            self._ema.update(self.student.model, step + 1)

    def contents(self) -> tuple[dict[str, Mapping[str, Tensor]], Mapping[str, Any]]:
        """Return what a checkpoint stores: tensors by group, and the optimiser's numbers that are no tensors."""
        tensors, numbers = optimizer_tensors(self.optimizer, dict(self.student.named_parameters()))
        groups: dict[str, Mapping[str, Tensor]] = {"model": self.student.state_dict(), "optimizer": tensors}
        if self._ema is not None:
            groups["ema"] = self._ema.module.state_dict()
        return groups, numbers

    def load(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint's state, strictly: RuntimeError names what does not fit."""
        tensors, progress = checkpoint.tensors, checkpoint.progress
        self.student.load_state_dict(tensors["model"], strict=True)
        load_optimizer_tensors(
            self.optimizer, tensors["optimizer"], progress.optimizer, dict(self.student.named_parameters())
        )
        if self._ema is not None:
            self._ema.module.load_state_dict(tensors["ema"], strict=True)
        if self._scaler is not None and progress.scaler is not None:
            self._scaler.load_state_dict(dict(progress.scaler))
        # A timm schedule is a function of the step.
        self._schedule.step_update(progress.step)


def _make_ema(model: nn.Module, recipe: Recipe) -> Any | None:
    """timm's moving average; its warm-up makes it useful within hundreds of steps."""
    return _Average(model, decay=recipe.ema, use_warmup=True) if recipe.ema else None


class _Average(ModelEmaV3):
    """timm's, in which weights that several layers share move once a step, and not once for every layer."""

    def apply_update_(self, model: nn.Module, decay: float) -> None:
        seen: set[int] = set()
        averages, values = [], []
        for average, value in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            if not average.is_floating_point():
                average.copy_(value)
            elif average.data_ptr() not in seen:
                averages.append(average)
                values.append(value)
                seen.add(average.data_ptr())
        self._foreach_lerp_(averages, values, weight=1.0 - decay)
