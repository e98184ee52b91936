"""The commands that train: `tleg train`, `tleg learn` and `tleg finetune`, made from the definition of their recipes."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import typer

from tleg.cli.app import app
from tleg.cli.options import (
    LaunchOptions,
    become,
    given_values,
    keyword_parameter,
    option_parameter,
    own_parameter,
    parameter_name,
)
from tleg.recipes import Kind
from tleg.recipes.building import build_options
from tleg.recipes.fields import options_of
from tleg.recipes.io import default_of, from_values, parse_arguments, read_values
from tleg.recipes.presets import preset_values, presets_of
from tleg.recipes.recipes import RECIPES, TrainingRecipe

_SOURCES: Final = "Recipe"


def takes_recipe(kind: Kind) -> Callable[[Callable[[TrainingRecipe, LaunchOptions], None]], Callable[..., None]]:
    """Give a command the options of a kind of training, and those of launching it.

    It is called with the recipe that they make, and what shall happen with it. A preset comes first, a recipe file over it,
    and options over both.
    """

    def decorate(command: Callable[[TrainingRecipe, LaunchOptions], None]) -> Callable[..., None]:
        options = options_of(RECIPES[kind])

        def run(**given: Any) -> None:
            launching = given_values(LaunchOptions, given)
            values = {each.name: given[parameter_name(each)] for each in options}
            recipe = make_recipe(kind, given["preset"], given["recipe"], values)
            command(recipe, build_options(LaunchOptions, launching))

        parameters = [
            *_sources(kind),
            *(option_parameter(each, default_of(each, kind), switch=False) for each in options),
            *map(own_parameter, options_of(LaunchOptions)),
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

    Every step draws its depth, so that descendants of any depth work without fine-tuning; the first half of the training has
    the shallowest alone. The training is a run: a process of its own that outlives the terminal. `tleg attach` shows it
    again, `tleg stop` saves and ends it.
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
