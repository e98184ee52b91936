"""Options of the commands, made from their definitions (`tleg.recipes.fields`), and those that several commands share."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tleg.errors import InputError
from tleg.recipes.building import build_options
from tleg.recipes.fields import Option, option, options_of

if TYPE_CHECKING:
    from tleg.runs.slurm import SlurmOptions


RUNS_DIR_HELP: Final = "Folder of the runs. Default: TLEG_RUNS, else tleg's data folder."
RunsDirOption = Annotated[
    str | None,
    typer.Option(help=RUNS_DIR_HELP, metavar="DIR"),
]
RunArgument = Annotated[str, typer.Argument(help="An id, the beginning of one, 'last', or a path.", metavar="RUN")]
JsonOption = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


def runs_folder_of(text: str | None) -> Path:
    """Return the folder of the runs that an option, or its absence, names."""
    from tleg.paths import runs_folder

    return runs_folder() if text is None else Path(text)


_SLURM: Final = "SLURM"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What a batch job of SLURM asks for."""

    partition: str | None = option(None, help="Partition of the job.", group=_SLURM)
    time: str | None = option(None, help="Time limit of the job, such as 24:00:00.", group=_SLURM)
    account: str | None = option(None, help="Account of the job.", group=_SLURM)
    sbatch: tuple[str, ...] = option((), help="A further option for sbatch, such as mem=64G. May be repeated.", group=_SLURM)

    def job(self, slurm: bool | None) -> "SlurmOptions | None":
        """Return the batch job that is asked for; None without --slurm. Raises InputError for its options without it."""
        given = tuple(each.name for each in options_of(BatchOptions) if getattr(self, each.name))
        if slurm:
            from tleg.runs.slurm import SlurmOptions

            extra = tuple(text if text.startswith("-") else f"--{text}" for text in self.sbatch)
            return SlurmOptions(partition=self.partition, time=self.time, account=self.account, extra=extra)
        if given:
            raise InputError("--partition, --time, --account and --sbatch belong to --slurm", field=given, code="conflict")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What a user wants to happen with a recipe.

    Raises InputError for options of a batch job without --slurm.
    """

    output: str | None = option(None, help="Where the result goes. Default: the run's own folder.", metavar="PATH")
    force: bool = option(False, help="Replace an existing output.")
    detach: bool = option(False, help="Start, print the run's id and return.", letter="d")
    print_recipe: bool = option(False, help="Print the complete recipe as TOML; start nothing.")
    dry_run: bool = option(False, help="Open data and models, check the teacher, estimate memory and disk; train nothing.")
    runs_dir: str | None = option(None, help=RUNS_DIR_HELP, metavar="DIR")
    slurm: bool = option(False, help="Submit as a batch job.", group=_SLURM)
    batch: BatchOptions = field(default_factory=BatchOptions)
    print_only: bool = option(False, help="Print the batch script; submit nothing.", group=_SLURM, name="print")
    as_json: bool = option(False, help="Report as JSON.", name="json")

    def __post_init__(self) -> None:
        if self.print_only and not self.slurm:
            raise InputError("--print belongs to --slurm", field=("print", "slurm"), code="conflict")
        _ = self.job

    @property
    def job(self) -> "SlurmOptions | None":
        """The batch job that is asked for."""
        return self.batch.job(self.slurm)


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each parameter that is a dataclass of options, in the place where it stands.

    What is given is checked against range and choices before the command runs. Other parameters stay Typer's.
    """
    kinds: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command).parameters.values():
        if isinstance(each.annotation, type) and is_dataclass(each.annotation):
            kinds[each.name] = each.annotation
            parameters += [own_parameter(item) for item in options_of(each.annotation)]
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**given: Any) -> None:
        built: dict[str, Any] = {name: build_options(kind, given_values(kind, given)) for name, kind in kinds.items()}
        command(**built, **given)

    become(run, command, parameters)
    return run


def own_parameter(each: Option) -> inspect.Parameter:
    """No file can give what is required: then Typer says that it is missing."""
    # A truth value that may be left open is said either way.
    parameter = option_parameter(each, each.default, switch=not each.optional)
    return parameter.replace(default=inspect.Parameter.empty) if each.required else parameter


def become(run: Callable[..., None], command: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Let a function look like the command that it runs, with these parameters."""
    run.__doc__, run.__name__, run.__module__ = command.__doc__, command.__name__, command.__module__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
    run.__annotations__ = {each.name: each.annotation for each in parameters}


def given_values(kind: type, given: dict[str, Any]) -> Mapping[str, Any]:
    """Take a class's options out of what Typer gives: option name -> value, without those that were not given."""
    values = {each.name: given.pop(parameter_name(each)) for each in options_of(kind)}
    kinds = {each.name: each.kind for each in options_of(kind)}
    said = {name: value for name, value in values.items() if value is not None and value != []}
    for name, value in said.items():
        if kinds[name] is dict:
            from tleg.recipes.io import parse_arguments

            said[name] = parse_arguments(value, name)
        elif kinds[name] is list:
            said[name] = tuple(value)
    return said


def option_parameter(each: Option, default: Any, *, switch: bool) -> inspect.Parameter:
    """Return the parameter of an option. Unset is None, so that what was given can be told from a default.

    default  what the help shows
    switch   whether a truth value is a switch alone, without a --no-… that takes it back; one that may be unset has both
    """
    unset = default is None or default is False or default == {} or default == ()
    shown: bool | str = False if unset else str(default)
    text = f"{each.help} Required." if each.required and not switch else each.help
    if each.choices and each.metavar is None and not any(choice in each.help for choice in each.choices):
        text = f"{text} One of {', '.join(each.choices)}."
    both = each.kind is bool and (each.optional or not switch)
    names = [f"--{each.name}/--no-{each.name}" if both else f"--{each.name}"]
    names += [f"-{each.letter}"] if each.letter else []
    panel = each.group or None
    settings = typer.Option(*names, help=text, metavar=each.metavar, show_default=shown, rich_help_panel=panel)
    annotation: Any = list[str] if each.kind is dict else list[each.item] if each.kind is list else each.kind  # type: ignore[name-defined]
    return keyword_parameter(parameter_name(each), annotation | None, settings)


def keyword_parameter(name: str, annotation: Any, settings: Any) -> inspect.Parameter:
    """Return a keyword parameter that Typer reads, unset by default."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, settings])


def parameter_name(each: Option) -> str:
    """A name that no option of a command's own has."""
    return f"option_{each.name.replace('-', '_')}"
