"""Recipe files: TOML whose keys are the options without their dashes, under the kind of training.

kind = "learn"
architecture = "vit_small_patch16_224"
sample-depths = "4,6,8-12"
model-arg = {patch_size = 8}
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tleg.errors import FileFormatError, InputError, describe_os_error
from tleg.recipes.document import from_values, to_values
from tleg.recipes.fields import options_of
from tleg.recipes.kinds import TrainingRecipe


def read_values(path: Path, kind: str | None = None) -> tuple[str, dict[str, Any]]:
    """Return a file's kind of training and its values, not yet checked.

    Raises FileFormatError when it is no TOML, and InputError when it is of another kind than asked for.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the recipe {path}: {describe_os_error(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"the recipe {path} is no TOML: {error}") from error
    found = document.pop("kind", kind)
    if not isinstance(found, str):
        raise FileFormatError(f'the recipe {path} lacks its kind: write kind = "learn" or kind = "finetune"')
    if kind is not None and found != kind:
        raise InputError(f"the recipe {path} is for `tleg {found}`, not for `tleg {kind}`")
    return found, document


def read_recipe(path: Path) -> TrainingRecipe:
    """Read and check a recipe file. Raises FileFormatError, or InputError naming file and option."""
    kind, values = read_values(path)
    try:
        return from_values(kind, values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def format_recipe(recipe: TrainingRecipe) -> str:
    """Return a recipe as TOML, every value stated, grouped as in the help. Reading it gives the same recipe."""
    return format_values(recipe.kind, to_values(recipe), {each.name: each.group for each in options_of(type(recipe))})


def format_values(kind: str, values: Mapping[str, Any], groups: Mapping[str, str]) -> str:
    """Return values as TOML, under a comment for each group."""
    sections: dict[str, list[str]] = {}
    for name, value in values.items():
        sections.setdefault(groups[name], []).append(f"{name} = {_format(value)}")
    parts = [f"kind = {_format(kind)}", *(f"\n# {group}\n" + "\n".join(lines) for group, lines in sections.items())]
    return "\n".join(parts) + "\n"


def _format(value: Any) -> str:
    if value is None:
        return '"None"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))} = {_format(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_format, value)) + "]"
    # JSON's escapes are TOML's, but for halves of surrogate pairs, and for this one.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _format(text)
