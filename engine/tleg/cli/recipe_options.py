"""The options of `tleg learn` and `tleg finetune`, made from the definition of their recipes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import typer

from tleg.cli.launch_options import Wishes, make_wishes
from tleg.cli.options import become, keyword_parameter, option_parameter, parameter_name
from tleg.recipes.command_line import parse_arguments as parse_arguments
from tleg.recipes.document import default_of, from_values
from tleg.recipes.fields import options_of
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
            values = {each.name: given.pop(parameter_name(each)) for each in options}
            recipe = make_recipe(kind, given.pop("preset"), given.pop("recipe"), values)
            command(recipe, make_wishes(**given))

        parameters = [
            *_sources(kind),
            *(option_parameter(each, default_of(each, kind), switch=False) for each in options),
            *own,
        ]
        become(run, command, parameters)
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
    return [keyword_parameter("recipe", str | None, recipe), keyword_parameter("preset", str | None, preset)]
