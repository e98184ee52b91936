"""What no recipe may ask for, whatever its kind."""

from typing import TYPE_CHECKING

from tleg.errors import InputError
from tleg.recipes.images import UNLABELLED

if TYPE_CHECKING:
    from tleg.recipes.recipes import TrainingRecipe


def check_common(recipe: "TrainingRecipe") -> None:
    """Refuse what makes no sense together in a recipe of any kind. Raises InputError."""
    learns = recipe.kind == "learn"
    method = recipe.distillation.method
    embeds = recipe.distillation.embeds
    if recipe.data.startswith(UNLABELLED) and not (embeds and learns):
        raise InputError(
            f"{recipe.data} has no labels; learn from it with tleg learn --teacher … --distillation embedding, or name data "
            "with classes",
            field=("data", "distillation"),
            code="unsupported",
        )
    if embeds and not learns:
        raise InputError(
            "embedding distillation learns a learngene; here choose soft, hard, feature or token",
            field="distillation",
            code="unsupported",
        )
    if embeds and recipe.recipe.mixing:
        raise InputError(
            "mixup and cutmix mix labels, which embedding distillation does not look at; leave them at 0",
            field=("mixup" if recipe.recipe.mixup else "cutmix", "distillation"),
            code="conflict",
        )
    if recipe.teacher is None and method != "soft":
        raise InputError(f"{method} distillation needs a teacher", field=("distillation", "teacher"), code="missing")
    parts = recipe.compute.processes * recipe.recipe.accumulate
    if recipe.recipe.batch_size % parts:
        lower = recipe.recipe.batch_size // parts * parts
        raise InputError(
            f"batch-size {recipe.recipe.batch_size} does not divide into {parts} equal parts "
            f"(processes times accumulate); try {lower or parts} or {lower + parts}",
            field=("batch-size", "accumulate", "devices", "nodes"),
            code="out-of-range",
        )
    if recipe.recipe.mixing and recipe.recipe.batch_size % (2 * recipe.compute.processes):
        raise InputError(
            f"mixup and cutmix pair images on each device: batch-size must be a multiple of {2 * recipe.compute.processes}",
            field="batch-size",
            code="out-of-range",
        )
