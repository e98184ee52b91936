"""Options that say where a training's result goes, and how it is started; `tleg learn` and `tleg finetune` share them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tleg.cli.run_options import JsonOption, RunsDirOption
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


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user wants to happen with a recipe: the options of the same names, and the batch job that they ask for."""

    output: str | None
    force: bool
    detach: bool
    print_recipe: bool
    dry_run: bool
    runs_dir: str | None
    slurm: "SlurmOptions | None"
    print_only: bool
    as_json: bool


def make_wishes(
    output: OutputOption = None,
    force: ForceOption = False,
    detach: DetachOption = False,
    print_recipe: PrintRecipeOption = False,
    dry_run: DryRunOption = False,
    runs_dir: RunsDirOption = None,
    slurm: SlurmOption = False,
    partition: PartitionOption = None,
    time_limit: TimeOption = None,
    account: AccountOption = None,
    sbatch: SbatchOption = None,
    print_only: PrintOption = False,
    as_json: JsonOption = False,
) -> Wishes:
    """Return the wishes of a command's options. Raises InputError for options of a batch job without --slurm."""
    if print_only and not slurm:
        raise InputError("--print belongs to --slurm")
    job = make_job(slurm, partition, time_limit, account, sbatch)
    return Wishes(output, force, detach, print_recipe, dry_run, runs_dir, job, print_only, as_json)


def make_job(
    slurm: bool | None, partition: str | None, time_limit: str | None, account: str | None, sbatch: list[str] | None
) -> "SlurmOptions | None":
    """Return the batch job that options ask for; None without --slurm. Raises InputError for its options without it."""
    if slurm:
        from tleg.runs.slurm import SlurmOptions

        options = tuple(text if text.startswith("-") else f"--{text}" for text in sbatch or ())
        return SlurmOptions(partition=partition, time=time_limit, account=account, extra=options)
    if partition or time_limit or account or sbatch:
        raise InputError("--partition, --time, --account and --sbatch belong to --slurm")
    return None
