"""The kinds of training: learning a learngene, training a model, and fine-tuning. Names and numbers alone, so that they can
be checked, shown and stored without loading a model or an image."""

from collections.abc import Mapping
from typing import Final

from tleg.recipes import Kind
from tleg.recipes.finetuning import FinetuneRecipe, TrainRecipe
from tleg.recipes.learning import LearnRecipe

TrainingRecipe = LearnRecipe | TrainRecipe | FinetuneRecipe
RECIPES: Final[Mapping[Kind, type[LearnRecipe] | type[FinetuneRecipe]]] = {
    "learn": LearnRecipe,
    "train": TrainRecipe,
    "finetune": FinetuneRecipe,
}
