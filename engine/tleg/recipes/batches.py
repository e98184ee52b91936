"""How large a batch may be: no larger than the training images, and of equal parts."""

import math

from tleg.recipes.training import Recipe


def largest_batch(images: int, parts: int) -> int:
    """Return the largest batch of so many images that divides into equal parts; 0 when there is none."""
    return images // parts * parts


def parts_of(recipe: Recipe, processes: int = 1) -> int:
    """Return what a batch must be a multiple of: its parts on all processes, and pairs on each where images are mixed."""
    return math.lcm(processes * recipe.accumulate, 2 * processes if recipe.mixing else 1)


def too_few(images: int, batch_size: int, parts: int) -> str | None:
    """Return a sentence when the training images are fewer than a batch, with the largest that fits; else None."""
    if images >= batch_size:
        return None
    largest = largest_batch(images, parts)
    fitting = (
        f"the largest batch-size that fits is {largest}" if largest else f"a batch must divide into {parts} equal parts"
    )
    return f"{images} training images are too few for a batch of {batch_size}; {fitting}"
