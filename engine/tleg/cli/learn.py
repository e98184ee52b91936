"""`tleg learn`: train an auxiliary model and keep its learngene."""

from tleg.cli.launch_options import Wishes
from tleg.cli.main import app
from tleg.cli.recipe_options import takes_recipe
from tleg.recipes.kinds import TrainingRecipe


@app.command()
@takes_recipe("learn")
def learn(recipe: TrainingRecipe, wishes: Wishes) -> None:
    """Learn a learngene: distil an ancestry model into an auxiliary model whose layers are made from a few terms.

    With --sample-depths every step draws its depth, so that descendants of any depth work without fine-tuning. The training
    is a run: a process of its own that outlives the terminal. `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launching import start

    start(recipe, wishes)
