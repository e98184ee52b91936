"""The options of `tleg learn` and `tleg finetune`, made from the definition of their recipes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tleg.cli.launch_options import Wishes, make_wishes
from tleg.recipes.command_line import parse_arguments as parse_arguments
from tleg.recipes.document import default_of, from_values
from tleg.recipes.fields import Option, options_of
from tleg.recipes.kinds import RECIPES, Kind, TrainingRecipe
from tleg.recipes.presets import preset_values, presets_of
from tleg.recipes.toml_file import read_values

_SOURCES: Final = "Recipe"


def takes_recipe(kind: Kind) -> Callable[[Callable[[TrainingRecipe, Wishes], None]], Callable[..., None]]:
    """Give a command the options of a kind of training, and those of launching it.

    It is called with the recipe and the wishes that they make. A preset comes first, a recipe file over it, and options over
    both.
    """

    def decorate(command: Callable[[TrainingRecipe, Wishes], None]) -> Callable[..., None]:
        options = options_of(RECIPES[kind])
        launching = inspect.signature(make_wishes).parameters.values()
        own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in launching]

        def run(**given: Any) -> None:
            values = {each.name: given.pop(_parameter(each)) for each in options}
            recipe = make_recipe(kind, given.pop("preset"), given.pop("recipe"), values)
            command(recipe, make_wishes(**given))

        parameters = [*_sources(kind), *(_option(each, kind) for each in options), *own]
        run.__doc__, run.__name__, run.__module__ = command.__doc__, command.__name__, command.__module__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect reads it
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def make_recipe(kind: Kind, preset: str | None, file: str | None, given: dict[str, Any]) -> TrainingRecipe:
    """Return the recipe of a preset, a file and options; None and empty lists are options that were not given.

    Raises InputError naming the option.
    """
    values = {} if preset is None else preset_values(preset, kind)
    if file is not None:
        values |= read_values(Path(file), kind)[1]
    for each in options_of(RECIPES[kind]):
        value = given[each.name]
        if value is None or value == []:
            continue
        if each.kind is dict:
            # Arguments add to those of a file.
            value = {**values.get(each.name, {}), **parse_arguments(value, each.name)}
        values[each.name] = value
    return from_values(kind, values)


def _sources(kind: Kind) -> list[inspect.Parameter]:
    presets = ", ".join(preset.name for preset in presets_of(kind))
    recipe = typer.Option(
        help="A recipe file (TOML): keys are options without dashes.", metavar="FILE", rich_help_panel=_SOURCES
    )
    preset = typer.Option(help=f"Start from a recipe by name: {presets}.", metavar="NAME", rich_help_panel=_SOURCES)
    return [_keyword("recipe", str | None, recipe), _keyword("preset", str | None, preset)]


def _option(each: Option, kind: Kind) -> inspect.Parameter:
    default = default_of(each, kind)
    shown: bool | str = False if default is None or default == {} or default is False else str(default)
    text = f"{each.help} Required." if each.required else each.help
    if each.choices and each.metavar is None and not any(choice in each.help for choice in each.choices):
        text = f"{text} One of {', '.join(each.choices)}."
    # Unset is None, so that a file's value is not replaced by a default.
    names = (f"--{each.name}/--no-{each.name}",) if each.kind is bool else (f"--{each.name}",)
    settings = typer.Option(*names, help=text, metavar=each.metavar, show_default=shown, rich_help_panel=each.group)
    annotation = list[str] | None if each.kind is dict else each.kind | None
    return _keyword(_parameter(each), annotation, settings)


def _keyword(name: str, annotation: Any, settings: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation, settings])


def _parameter(each: Option) -> str:
    """A name that no option of a command's own has."""
    return f"recipe_{'_'.join(each.path)}"
