"""`tleg finetune`: train a descendant, a timm model or an earlier result on a data set."""

from tleg.cli.launch_options import Wishes
from tleg.cli.main import app
from tleg.cli.recipe_options import takes_recipe
from tleg.recipes.kinds import TrainingRecipe


@app.command()
@takes_recipe("finetune")
def finetune(recipe: TrainingRecipe, wishes: Wishes) -> None:
    """Train a descendant, a timm model or an earlier result; write a folder that timm loads.

    Start from one of --learngene (with --depth), --model or --checkpoint. A model trained from scratch with --model can be
    the ancestry model for `tleg learn --teacher`. The training is a run: a process of its own that outlives the terminal.
    `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launching import start

    start(recipe, wishes)
