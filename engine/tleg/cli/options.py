"""Options of a command, made from their definition: a dataclass whose fields are options (`tleg.recipes.fields`)."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any

import typer

from tleg.recipes.building import build_options
from tleg.recipes.fields import Option, options_of


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of each parameter that is a dataclass of options, in the place where it stands.

    What is given is checked against range and choices before the command runs. Other parameters stay Typer's.
    """
    kinds: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command).parameters.values():
        if isinstance(each.annotation, type) and is_dataclass(each.annotation):
            kinds[each.name] = each.annotation
            parameters += [_own_parameter(item) for item in options_of(each.annotation)]
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def run(**given: Any) -> None:
        built: dict[str, Any] = {name: build_options(kind, given_values(kind, given)) for name, kind in kinds.items()}
        command(**built, **given)

    become(run, command, parameters)
    return run


def _own_parameter(each: Option) -> inspect.Parameter:
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
            from tleg.recipes.command_line import parse_arguments  # It loads the recipes, which few commands need.

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
    return f"recipe_{'_'.join(each.path)}"
