"""Optimisers and schedules, timm's, and their state as tensors with names."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tleg.errors import FileFormatError, InputError
from tleg.recipes.training import Recipe

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
            raise InputError(f"timm knows no order of the layers of {type(model).__name__}; leave --layer-decay at 1")
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
