"""Families: models for many devices from one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tleg.api.names import Name

if TYPE_CHECKING:
    from tleg.family.make import Watching
    from tleg.family.results import FamilyResults


def build_family(
    file: Name | None,
    output: Name,
    *,
    given: Mapping[str, str] | None = None,
    overwrite: bool = False,
    watching: "Watching | None" = None,
) -> "FamilyResults":
    """Make for each device of a family's file what is not made yet: its depth, its training, its export and its figures.

    file       None is devices small, medium and large: a quarter, half and all of the learngene's depth
    output     the family's folder
    given      keys that stand above the file's: 'data', 'license', 'learngene', 'ancestor'
    overwrite  train anew what the file now says otherwise than when it was trained
    watching   who is told of each step

    The folder has, for each device, a folder with its verified file, and slices.json, report.md, report.html and README.md,
    a model card. Raises InputError before the first training for what is wrong in the file; a device for which something
    fails is in the result's `failed`. KeyboardInterrupt saves and stops the training at work.
    """
    from tleg.family.card import write_card
    from tleg.family.file import read_family
    from tleg.family.make import FamilyMaker
    from tleg.family.report import write_report

    family = read_family(None if file is None else Path(file), given)
    folder = Path(output)
    results = FamilyMaker(family, folder, force=overwrite, watching=watching).make()
    write_report(folder, results, family.text)
    write_card(folder, results)
    return results
