"""What trainings compute: multiply-accumulates of models, of learngenes at the depths of a step, and of teachers.

Torch and timm are loaded where a model has to be counted, and no model needs its weights for that.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from tleg.errors import InputError, TlegError, first_line
from tleg.recipes.distillation import Depths
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.recipes import TrainingRecipe

if TYPE_CHECKING:
    from tleg.data.datasets import Data
    from tleg.learngene.architecture import Architecture
    from tleg.learngene.cost import CostModel

# Multiply-accumulates of a training step for those of a forward pass: the backward pass makes two products for each one.
FORWARD_AND_BACKWARD: Final = 3


@dataclass(frozen=True, slots=True)
class Counted:
    """What a model is: its parameters, and the multiply-accumulates of its forward pass for one image."""

    parameters: int
    macs: int


def forward_at_depths(macs_at: Callable[[int], float], depths: Depths, part: float = 1.0) -> float:
    """Return the multiply-accumulates of all forward passes of a step for one image, the mean over steps.

    A step of the warm-up computes its depth. Others compute one depth, drawn by the odds of the sampling; a sandwich the
    deepest, the shallowest and one of those in between.

    part  the mean is over the steps of the training's first so much, above 0
    """
    warmup = min(depths.warmup, part)
    return (warmup * macs_at(depths.first) + (part - warmup) * _forward_of_drawn(macs_at, depths)) / part


def _forward_of_drawn(macs_at: Callable[[int], float], depths: Depths) -> float:
    if depths.sampling == "sandwich":
        shallowest, *between, deepest = sorted(set(depths.choices))
        mean = sum(map(macs_at, between)) / len(between) if between else 0.0
        return macs_at(deepest) + macs_at(shallowest) + mean
    return sum(odds * macs_at(depth) for depth, odds in zip(depths.choices, depths.odds, strict=True))


def training_macs(forward: float, teacher: float = 0.0) -> float:
    """Return the multiply-accumulates of training for one image, from those of the student's and teacher's forward pass."""
    return FORWARD_AND_BACKWARD * forward + teacher


def count_model(name: str, arguments: Mapping[str, Any], num_classes: int, input_size: tuple[int, int, int]) -> Counted:
    """Return what a model of timm is, which is made for that without weights worth anything. Asked again, it is known.

    arguments   of `timm.create_model`
    input_size  (channels, height, width)

    Raises InputError for a model that timm cannot build, or whose operations cannot be counted.
    """
    return _count_model(name, json.dumps(dict(arguments), sort_keys=True), num_classes, input_size)


@contextmanager
def _counting(what: str) -> Iterator[None]:
    """timm reports what does not fit in many ways, and so does what traces a model: all become an InputError."""
    try:
        yield
    except Exception as error:
        raise InputError(
            f"cannot count what {what} computes: {first_line(error)}", field="model", code="unsupported"
        ) from error


@lru_cache(maxsize=256)
def _count_model(name: str, arguments: str, num_classes: int, input_size: tuple[int, int, int]) -> Counted:
    from tleg.models.creation import create_model

    given = {"num_classes": num_classes, **json.loads(arguments)}
    with _counting(f"'{name}'"):
        return count_made(create_model(name, **given), input_size)


def count_made(model: Any, input_size: tuple[int, int, int]) -> Counted:
    """Return what a module is that was made. Raises what the libraries raise that trace it."""
    import torch

    from tleg.models.flops import count_macs

    macs = count_macs(model.eval(), torch.zeros(1, *input_size))[""]
    return Counted(sum(each.numel() for each in model.parameters()), macs)


def count_folder(config: Mapping[str, Any]) -> Counted:
    """Return what the model of a folder that timm loads is, by its config.json. Raises InputError, and KeyError."""
    pretrained = config.get("pretrained_cfg", config)
    arguments = dict(config.get("model_args") or {})
    count = arguments.pop("num_classes", None) or config.get("num_classes", pretrained.get("num_classes"))
    channels, height, width = pretrained.get("input_size") or (3, 224, 224)
    return count_model(str(config["architecture"]), arguments, int(count), (channels, height, width))


def count_teacher(recipe: TrainingRecipe) -> int | None:
    """Return the multiply-accumulates of the teacher's forward pass for one image, which sees images of its own size.

    0 without one, and for one that is not asked; None where it cannot be counted.
    """
    if recipe.teacher is None or not recipe.distillation.weight:
        return 0
    try:
        return _count_named(recipe.teacher)
    except (TlegError, OSError, KeyError, TypeError, ValueError):
        return None


def _count_named(text: str) -> int:
    """Of a model as `--teacher` names it. Raises InputError, and what a damaged folder makes others raise."""
    from tleg.models.timm_folder import input_size_of, read_timm_folder
    from tleg.training.names import resolve_model

    reference = resolve_model(text, "folder", "weights", "timm")
    if reference.kind == "folder":
        return count_folder(read_timm_folder(reference.place).config).macs
    if reference.kind == "weights":
        return _count_weights(text, reference.place.stat().st_mtime_ns)
    import timm

    config = timm.get_pretrained_cfg(reference.name, allow_unregistered=True)
    if config is None:
        raise InputError(f"timm says nothing of '{reference.name}'", field="teacher", code="unsupported")
    known = config.to_dict()
    return count_model(reference.name.partition(".")[0], {}, int(config.num_classes), input_size_of(known, {})).macs


@lru_cache(maxsize=16)
def _count_weights(text: str, changed: int) -> int:  # Of a file that changed, another one is counted.
    """What follows from a file of weights is known once it is opened. Raises InputError."""
    from tleg.training.models import open_model
    from tleg.training.names import resolve_model

    opened = open_model(resolve_model(text, "weights"))
    return count_made(opened.model, opened.input_size).macs


def learngene_macs(
    recipe: LearnRecipe, data: "Data", sizes: tuple[tuple[int, int], ...] = ()
) -> tuple[Callable[[int], int], ...]:
    """Return what gives the multiply-accumulates of the descendants of a learngene that is not learned yet, by depth.

    sizes  heights and widths of the inputs, a function for each; for its own size where none is named

    Raises ArchitectureError.
    """
    from tleg.models.architecture import describe
    from tleg.models.flops import measure
    from tleg.models.image_size import cost_at
    from tleg.training.init import learn_arguments
    from tleg.training.start import open_start

    architecture = describe(recipe.architecture, learn_arguments(recipe, data, open_start(recipe)), len(data.classes))
    costs = [cost_at(architecture, size) for size in sizes] or [measure(architecture)]
    auxiliary = recipe.depths.auxiliary if recipe.scales_all else None
    return tuple(partial(_macs_at, architecture, cost, auxiliary) for cost in costs)


def _macs_at(architecture: "Architecture", cost: "CostModel", auxiliary_depth: int | None, depth: int) -> int:
    """The multiply-accumulates at a depth; with the auxiliary model's, those of every stage scaled with it."""
    if auxiliary_depth is None:
        return cost.macs.at(depth)
    return architecture.cost_at(cost, architecture.scaled(depth, auxiliary_depth)).macs


def count_start(recipe: FinetuneRecipe, data: "Data") -> Counted:
    """Return what a model is that a recipe starts from, of timm's or from a file. Raises InputError."""
    from tleg.training.init import initial_model_of

    if recipe.model is not None and recipe.pretrained:  # Its weights would be downloaded.
        import timm

        from tleg.models.timm_folder import image_argument, input_size_of

        config = timm.get_pretrained_cfg(recipe.model, allow_unregistered=True)
        arguments, known = dict(recipe.model_arguments), {} if config is None else config.to_dict()
        if recipe.pixels is not None and known.get("fixed_input_size"):
            arguments["img_size"] = image_argument(recipe.pixels)
        size = input_size_of(known, arguments)
        if recipe.pixels is not None:
            size = (size[0], *recipe.pixels)
        return count_model(recipe.model.partition(".")[0], arguments, len(data.classes), size)
    made = initial_model_of(recipe)(data)
    with _counting("the model"):
        return count_made(made.model, made.architecture.input_size)
