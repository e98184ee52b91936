"""Options that say where a training's result goes, and how it is started; `tleg learn` and `tleg finetune` share them."""

from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.run_options import JsonOption as JsonOption
from tleg.cli.run_options import RunsDirOption as RunsDirOption
from tleg.errors import InputError

if TYPE_CHECKING:
    from tleg.runs.slurm import SlurmOptions

_SLURM = "SLURM"

OutputOption = Annotated[
    str | None, typer.Option(help="Where the result goes. Default: the run's own folder.", metavar="PATH")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
DetachOption = Annotated[bool, typer.Option("--detach", "-d", help="Start, print the run's id and return.")]
PrintRecipeOption = Annotated[bool, typer.Option("--print-recipe", help="Print the complete recipe as TOML; start nothing.")]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Open data and models, check the teacher, estimate memory and disk; train nothing."),
]
SlurmOption = Annotated[bool, typer.Option("--slurm", help="Submit as a batch job.", rich_help_panel=_SLURM)]
PartitionOption = Annotated[str | None, typer.Option(help="Partition of the job.", rich_help_panel=_SLURM)]
TimeOption = Annotated[
    str | None, typer.Option("--time", help="Time limit of the job, such as 24:00:00.", rich_help_panel=_SLURM)
]
AccountOption = Annotated[str | None, typer.Option(help="Account of the job.", rich_help_panel=_SLURM)]
SbatchOption = Annotated[
    list[str] | None,
    typer.Option("--sbatch", help="A further option for sbatch, such as mem=64G. May be repeated.", rich_help_panel=_SLURM),
]
PrintOption = Annotated[
    bool, typer.Option("--print", help="Print the batch script; submit nothing.", rich_help_panel=_SLURM)
]


def batch_job(
    wanted: bool,
    partition: str | None,
    time: str | None,
    account: str | None,
    extra: list[str] | None,
    print_only: bool,
) -> "SlurmOptions | None":
    """Return the options of a batch job, or None when none is wanted. Raises InputError for options without --slurm."""
    if not wanted:
        if partition or time or account or extra or print_only:
            raise InputError("--partition, --time, --account, --sbatch and --print belong to --slurm")
        return None
    from tleg.runs.slurm import SlurmOptions

    options = tuple(text if text.startswith("-") else f"--{text}" for text in extra or ())
    return SlurmOptions(partition=partition, time=time, account=account, extra=options)
