"""What somebody should know of a training before it begins."""

from typing import Any

from torch import nn

from tleg.training.plan import Plan


def remarks(plan: Plan) -> list[tuple[str, str]]:
    """Return (code, sentence) of what is no mistake, and yet may surprise."""
    parts = plan.world.size * plan.recipe.accumulate
    normalisers: Any = nn.modules.batchnorm._BatchNorm
    if parts > 1 and any(isinstance(module, normalisers) for module in plan.student.modules()):
        size, whole = plan.recipe.batch_size // parts, plan.recipe.batch_size
        text = (
            f"batch norm takes its statistics from each of {parts} parts of a step, {size} images, not from the step's "
            f"{whole}: with other devices and accumulate the result is another"
        )
        return [("batch-norm", text)]
    return []
