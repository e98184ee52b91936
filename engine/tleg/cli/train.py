"""The commands that train: `tleg train`, `tleg learn` and `tleg finetune`."""

from tleg.cli.app import app
from tleg.cli.options import LaunchOptions, takes_recipe
from tleg.recipes.recipes import TrainingRecipe


@app.command()
@takes_recipe("train")
def train(recipe: TrainingRecipe, wishes: LaunchOptions) -> None:
    """Train a timm model from scratch or from pretrained weights, such as an ancestry model; write a folder that timm loads.

    Give --model, with --pretrained for timm's weights, or --checkpoint for weights that you have. The result can be the
    ancestry model for `tleg learn --teacher`. The training is a run: a process of its own that outlives the terminal.
    `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launch import start

    start(recipe, wishes)


@app.command()
@takes_recipe("learn")
def learn(recipe: TrainingRecipe, wishes: LaunchOptions) -> None:
    """Learn a learngene: distil an ancestry model into an auxiliary model whose layers are made from a few terms.

    With --sample-depths every step draws its depth, so that descendants of any depth work without fine-tuning. The training
    is a run: a process of its own that outlives the terminal. `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launch import start

    start(recipe, wishes)


@app.command()
@takes_recipe("finetune")
def finetune(recipe: TrainingRecipe, wishes: LaunchOptions) -> None:
    """Train a descendant, a timm model or an earlier result; write a folder that timm loads.

    Start from one of --learngene (with --depth), --model or --checkpoint. A model trained from scratch with --model can be
    the ancestry model for `tleg learn --teacher`. The training is a run: a process of its own that outlives the terminal.
    `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launch import start

    start(recipe, wishes)
