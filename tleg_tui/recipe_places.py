"""What the names and paths of a recipe mean on this machine. Reads the disk, so it is for a thread."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.atomic import check_file, check_folder
from tleg.catalogue import resolve
from tleg.container import read_file
from tleg.errors import InputError, TlegError, did_you_mean
from tleg.recipes.kinds import Kind
from tleg.runs.control import is_run
from tleg.runs.layout import RunFolder
from tleg.runs.listing import resolve_run
from tleg_tui.model_names import ModelNames

FASHION_MNIST: Final = "fashion-mnist"
# As `tleg.data` has them, which needs numpy.
VALIDATION_NAMES: Final = ("val", "validation", "valid", "test")
DATA_PREFIXES: Final = ("torch/", "hfds/", "wds/", "hfids/", "tfds/")
_MOST_NEIGHBOURS: Final = 1000


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
        "teacher": lambda text: _check_weights(text, runs_dir, models, may_download=True),
    }
    problems: dict[str, str] = {}
    for name, check in checks.items():
        if isinstance(values.get(name), str):
            try:
                check(values[name])
            except (TlegError, OSError, ValueError) as error:
                problems[name] = str(error)
    exists = False
    if output is not None:
        try:
            exists = Path(output).exists()
            (check_file if kind == "learn" else check_folder)(Path(output), overwrite=overwrite)
        except (TlegError, OSError, ValueError) as error:
            problems["output"] = str(error).replace("--force replaces it", "tick 'replace' below, or name another")
    return Places(problems, exists)


def _check_data(text: str, splits: bool) -> None:
    name, separator, place = text.partition(":")
    if name == FASHION_MNIST:
        if separator and not Path(place).is_dir():
            raise InputError(f"there is no folder {place}" if place else f"write {FASHION_MNIST}, or {FASHION_MNIST}:FOLDER")
        return
    folder = Path(text)
    if folder.is_dir():
        validates = any((folder / each).is_dir() for each in VALIDATION_NAMES)
        if not (splits or ((folder / "train").is_dir() and validates)):
            raise InputError(
                f"{text} must hold the folders train/ and val/, each with a folder of images for each class; "
                "a validation-split of 0.1 takes validation images from the training images"
            )
        return
    if text.startswith("tar:"):
        if not Path(text.removeprefix("tar:")).exists():
            raise InputError(f"there is no {text.removeprefix('tar:')}")
        return
    if text.lower().startswith(DATA_PREFIXES):
        return
    if folder.exists():
        raise InputError(f"{text} is a file; name the folder that holds train/ and val/, or tar:{text}")
    hint = did_you_mean(text, [FASHION_MNIST, *_neighbours(folder)])
    raise InputError(f"there is no folder and no known data set '{text}'; known: {FASHION_MNIST}, torch/…, hfds/….{hint}")


def _check_architecture(text: str, models: ModelNames) -> None:
    _check_model(text, models)
    if models.known and text.partition(".")[0] not in models.expandable:
        raise InputError(f"'{text}' is no ViT that can be expanded; deit, vit, deit3 and dinov2 are")


def _check_model(text: str, models: ModelNames) -> None:
    base = text.partition(".")[0]
    if models.known and base not in models.names:
        raise InputError(f"timm has no model '{text}'.{_closest(base, models.names)}")


def _closest(name: str, names: Sequence[str]) -> str:
    """A hint; names are long, and who types 'vit_tini' means one that begins so."""
    from difflib import get_close_matches

    beginnings = get_close_matches(name, {each[: len(name)] for each in names}, n=1, cutoff=0.75)
    near = next((each for each in names if beginnings and each.startswith(beginnings[0])), None)
    return did_you_mean(name, names) if near is None else f" Did you mean '{near}'?"


def _check_learngene(text: str, runs_dir: Path) -> None:
    path = Path(text)
    if path.is_dir():
        if not is_run(RunFolder(path)):
            raise InputError(f"{text} is a folder, and no run; name a learngene file")
        return
    try:
        file = resolve(text)
    except InputError:
        if _names_run(text, runs_dir):
            return
        raise
    read_file(file)


def _check_weights(text: str, runs_dir: Path, models: ModelNames, *, may_download: bool) -> None:
    """A folder that timm loads, TIMM_NAME:FILE, a run, or (for a teacher) a name that timm downloads."""
    path = Path(text)
    if path.is_dir():
        if not is_run(RunFolder(path)) and not (path / "config.json").is_file():
            raise InputError(f"{text} has no config.json, so timm cannot load it; name what `tleg finetune` made")
        return
    if path.exists():
        raise InputError(f"{text} is a file; write TIMM_NAME:{text}, such as levit_384:{text}")
    name, separator, file = text.partition(":")
    if separator and os.sep not in name:
        _check_model(name, models)
        if not Path(file).is_file():
            raise InputError(f"there is no file {file}.{did_you_mean(Path(file).name, _neighbours(Path(file)))}")
        return
    if _names_run(text, runs_dir):
        return
    if os.sep in text or not may_download:
        hint = did_you_mean(path.name, _neighbours(path))
        raise InputError(
            f"there is no folder {text}.{hint}" if os.sep in text else f"there is no folder and no run '{text}'.{hint}"
        )
    try:
        _check_model(text, models)
    except InputError as error:
        raise InputError(f"there is no folder and no run of this name, and {error}") from error


def _names_run(text: str, runs_dir: Path) -> bool:
    if Path(text).name != text:
        return False
    try:
        resolve_run(text, runs_dir)
    except InputError:
        return False
    return True


def _neighbours(path: Path) -> list[str]:
    """Names beside a path, for hints."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_NEIGHBOURS), strict=False)]
    except OSError:
        return []
    return sorted(names if path.parent == Path() else [*names, *(str(path.parent / name) for name in names)])
