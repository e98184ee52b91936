"""`tleg finetune`: train a descendant, a timm model or an earlier result on a data set."""

from tleg.cli import launch_options as options
from tleg.cli.main import app
from tleg.cli.recipe_options import takes_recipe
from tleg.recipes.kinds import FinetuneRecipe


@app.command()
@takes_recipe("finetune")
def finetune(
    recipe: FinetuneRecipe,
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
    """Train a descendant, a timm model or an earlier result; write a folder that timm loads.

    Start from one of --learngene (with --depth), --model or --checkpoint. A model trained from scratch with --model can be
    the ancestry model for `tleg learn --teacher`. The training is a run: a process of its own that outlives the terminal.
    `tleg attach` shows it again, `tleg stop` saves and ends it.
    """
    from tleg.cli.launching import Wishes, start

    batch_job = options.batch_job(slurm, partition, time_limit, account, sbatch, print_only)
    start(recipe, Wishes(output, force, detach, print_recipe, dry_run, runs_dir, batch_job, print_only, as_json))
