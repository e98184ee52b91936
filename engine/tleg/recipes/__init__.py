"""Every option of a training, defined once: command line, forms, files and presets are made from it."""

from typing import Final, Literal, get_args

# The kinds of training; `tleg.recipes.recipes` has the recipe of each.
Kind = Literal["learn", "train", "finetune"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
