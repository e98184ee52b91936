"""What the names and paths of a recipe mean, to timm and on this machine. Reads the disk, so it is for a thread."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tleg.data.counting import check_batch
from tleg.data.sources import find_source
from tleg.errors import DataError, InputError, NotFoundError, TlegError, closest_name, did_you_mean
from tleg.files import check_file, check_folder
from tleg.learngene.container import read_file
from tleg.recipes import Kind
from tleg.recipes.io import from_values
from tleg.references import Reference, expect, resolve
from tleg_tui.child import run_tleg
from tleg_tui.common.wording import explained

# A beginning, until timm itself has been asked.
FIRST: Final = ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "deit_tiny_patch16_224")


@dataclass(slots=True)
class ModelNames:
    """Names of timm's models; `known` once timm was asked. Before that nothing can be said about a name."""

    known: bool = False
    names: tuple[str, ...] = ()
    expandable: Collection[str] = field(default_factory=frozenset)

    async def ask(self) -> bool:
        """Ask timm, in a process of its own; True when something new is known."""
        if self.known:
            return False
        document = (await run_tleg(["models", "--json"])).document
        if not isinstance(document, list):
            return False
        rows = [each for each in document if isinstance(each, dict)]
        self.names = tuple(str(each.get("name")) for each in rows)
        self.expandable = tuple(str(each.get("name")) for each in rows if each.get("expandable") is True)
        self.known = bool(self.names)
        return self.known


# Of this process: every form that opens later knows them at once.
TIMM: Final = ModelNames()

_MOST_NEIGHBOURS: Final = 1000
REPLACE: Final = "tick 'replace' below, or name another"  # What there is to do where the output exists.


@dataclass(frozen=True, slots=True)
class Places:
    """What was found: field -> what is wrong, and whether the output exists already."""

    problems: Mapping[str, str]
    output_exists: bool = False


def check_places(
    kind: Kind, values: Mapping[str, Any], output: str | None, overwrite: bool, runs_dir: Path, models: ModelNames
) -> Places:
    """Look at every name and path of a recipe's values. Never raises; what cannot be known is no problem."""
    checks: dict[str, Callable[[str], None]] = {
        "data": lambda text: _check_data(text, "validation-split" in values),
        "architecture": lambda text: _check_architecture(text, models),
        "model": lambda text: _check_model(text, models),
        "learngene": lambda text: _check_learngene(text, runs_dir),
        "checkpoint": lambda text: _check_weights(text, runs_dir, models, may_download=False),
        "start": lambda text: _check_start(text, runs_dir, models),
        "teacher": lambda text: _check_weights(text, runs_dir, models, may_download=True),
    }
    problems: dict[str, str] = {}
    for name, check in checks.items():
        if isinstance(values.get(name), str):
            try:
                check(values[name])
            except (TlegError, OSError, ValueError) as error:
                problems[name] = str(error)
    if "data" not in problems and "batch-size" not in problems and (problem := _check_batch(kind, values)):
        problems["batch-size"] = problem
    exists = False
    if output is not None:
        try:
            exists = Path(output).exists()
            (check_file if kind == "learn" else check_folder)(Path(output), overwrite=overwrite)
        except (TlegError, OSError, ValueError) as error:
            problems["output"] = explained(error, REPLACE)
    return Places(problems, exists)


def _check_data(text: str, splits: bool) -> None:
    find_source(text, _neighbours(Path(text))).check(text, splitting=splits)


def _check_batch(kind: Kind, values: Mapping[str, Any]) -> str | None:
    """What is wrong with the batch for so many images; None also where the rest of the form is not right yet."""
    least: Mapping[str, Any] = {"architecture": "?"} if kind == "learn" else {"checkpoint": "?"}
    names = ("data", "validation-split", "batch-size", "accumulate", "devices", "nodes", "mixup", "cutmix")
    try:
        recipe = from_values(kind, {**least, **{name: values[name] for name in names if name in values}})
    except InputError:
        return None
    try:
        check_batch(recipe)
    except DataError as error:
        return str(error)
    return None


def _check_architecture(text: str, models: ModelNames) -> None:
    _check_model(text, models)
    if models.known and text.partition(".")[0] not in models.expandable:
        raise InputError(f"'{text}' is no ViT that can be expanded; deit, vit, deit3 and dinov2 are")


def _check_model(text: str, models: ModelNames) -> None:
    base = text.partition(".")[0]
    if models.known and base not in models.names:
        raise InputError(f"timm has no model '{text}'.{closest_name(base, models.names)}")


def _check_learngene(text: str, runs_dir: Path) -> None:
    reference = resolve(text, runs_dir)
    if reference.kind == "folder" and reference.run is None:
        raise InputError(f"{text} is a folder, and no run; name a learngene file")
    if reference.kind != "run":
        read_file(expect(reference, "learngene").place)
    elif not reference.learns:
        expect(reference, "learngene")


def _check_start(text: str, runs_dir: Path, models: ModelNames) -> None:
    """What a learngene's training begins with: a learngene, or a trained model."""
    reference = resolve(text, runs_dir, download=True)
    if reference.kind == "learngene" or (reference.kind == "run" and reference.learns):
        _check_learngene(text, runs_dir)
    else:
        _check_weights(text, runs_dir, models, may_download=True)


def _check_weights(text: str, runs_dir: Path, models: ModelNames, *, may_download: bool) -> None:
    """A folder that timm loads, TIMM_NAME:FILE, a run, or (for a teacher) a name that timm downloads."""

    def is_timm_name(name: str) -> bool:
        return not models.known or name.partition(".")[0] in models.names

    try:
        reference = resolve(text, runs_dir, download=may_download, is_timm_name=is_timm_name)
    except NotFoundError as error:
        path = Path(text)
        if os.sep in text or not may_download:
            hint = did_you_mean(path.name, _neighbours(path))
            what = f"folder {text}" if os.sep in text else f"folder and no run '{text}'"
            raise InputError(f"there is no {what}.{hint}") from error
        try:
            _check_model(text, models)
        except InputError as unknown:
            raise InputError(f"there is no folder and no run of this name, and {unknown}") from error
        raise
    _check_reference(reference, models)


def _check_reference(reference: Reference, models: ModelNames) -> None:
    expect(reference, "folder", "weights", "run", "timm")
    if reference.kind == "run" and reference.learns:
        expect(reference, "folder", "weights")
    if reference.kind == "folder" and reference.run is None and not (reference.place / "config.json").is_file():
        raise InputError(f"{reference.text} has no config.json, so timm cannot load it; name what `tleg train` made")
    if reference.kind == "weights":
        _check_model(reference.name, models)
        file = reference.place
        if not file.is_file():
            raise InputError(f"there is no file {file}.{did_you_mean(file.name, _neighbours(file))}")


def _neighbours(path: Path) -> list[str]:
    """Names beside a path, for hints."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_NEIGHBOURS), strict=False)]
    except OSError:
        return []
    return sorted(names if path.parent == Path() else [*names, *(str(path.parent / name) for name in names)])
