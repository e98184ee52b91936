"""`tleg learn`: train an auxiliary model and keep its learngene."""

from tleg.cli import launch_options as options
from tleg.cli.main import app
from tleg.cli.recipe_options import takes_recipe
from tleg.recipes.kinds import LearnRecipe


@app.command()
@takes_recipe("learn")
def learn(
    recipe: LearnRecipe,
    output: options.OutputOption = None,
    force: options.ForceOption = False,
    detach: options.DetachOption = False,
    print_recipe: options.PrintRecipeOption = False,
    dry_run: options.DryRunOption = False,
    runs_dir: options.RunsDirOption = None,
    slurm: options.SlurmOption = False,
    partition: options.PartitionOption = None,
    time_limit: options.TimeOption = None,
    account: options.AccountOption = None,
    sbatch: options.SbatchOption = None,
    print_only: options.PrintOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Learn a learngene: distil an ancestry model into an auxiliary model whose layers are made from a few terms.

    With --sample-depths every step draws its depth, so that descendants of any depth work without fine-tuning. The training
    is a run: a process of its own that outlives the terminal. `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launching import Wishes, start

    batch_job = options.batch_job(slurm, partition, time_limit, account, sbatch, print_only)
    start(recipe, Wishes(output, force, detach, print_recipe, dry_run, runs_dir, batch_job, print_only, as_json))
