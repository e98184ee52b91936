"""What can be picked for a field: what was used before, what lies here, what timm knows."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tleg.data.splits import find_splits
from tleg.recipes.recipes import Kind
from tleg.references import SUFFIX
from tleg_tui.learngenes import Learngenes
from tleg_tui.model_names import FIRST, ModelNames
from tleg_tui.recipe_places import FASHION_MNIST
from tleg_tui.run_list import RunList
from tleg_tui.settings import Settings

PICKED: Final = ("data", "learngene", "checkpoint", "teacher", "architecture", "model")
TEACHERS: Final = ("levit_384", "levit_128s", "regnety_160", "resnet50")
_FROM_TIMM: Final = (
    ("torch/cifar10", "32 x 32 pixels, 10 classes; a download"),
    ("torch/cifar100", "32 x 32 pixels, 100 classes; a download"),
    ("hfds/", "a set of Hugging Face: type its name"),
    ("tar:", "a folder with train.tar and val.tar: type its path"),
)
_MOST: Final = 300


@dataclass(frozen=True, slots=True)
class Offer:
    """A text for a field, and a word about it. Of a folder that is none itself, `walk` says that one can go into it."""

    text: str
    about: str
    walk: bool = False


def offers_of(name: str, kind: Kind, settings: Settings, runs: RunList, models: ModelNames) -> tuple[Offer, ...]:
    """Return what to offer for a field, the likeliest first, each text once. Reads folders."""
    found: Iterable[Offer] = ()
    if name == "data":
        found = _data(settings)
    elif name == "learngene":
        entries = Learngenes().find(settings.learngenes, Path.cwd(), runs)
        found = (
            *(Offer(each.argument, each.origin) for each in entries if each.file is not None),
            *(Offer(str(row.folder.path), f"run, {row.state}") for row in runs.rows if row.spec.kind == "learn"),
        )
    elif name in ("checkpoint", "teacher"):
        found = (
            *(Offer(text, "recent") for text in settings.teachers if name == "teacher"),
            *(Offer(str(row.folder.path), f"run, {row.state}") for row in runs.rows if row.spec.kind == "finetune"),
            *(Offer(path.name, "a folder that timm loads") for path in _folders(Path()) if (path / "config.json").is_file()),
            *(Offer(text, "timm's, to download") for text in TEACHERS if name == "teacher"),
        )
    elif name in ("architecture", "model"):
        known = models.expandable if name == "architecture" else models.names
        found = (*(Offer(text, "plain ViT") for text in FIRST), *(Offer(text, "") for text in known))
    return tuple({offer.text: offer for offer in reversed(tuple(found))}.values())[::-1]


def completions_of(name: str, settings: Settings, models: ModelNames) -> tuple[str, ...]:
    """Return what completes a text that is being typed into a field."""
    if name == "data":
        return (*settings.data, FASHION_MNIST, *(text for text, _ in _FROM_TIMM))
    if name == "architecture":
        return tuple(models.expandable)
    return (*settings.teachers, *models.names) if name in ("teacher", "model") else settings.learngenes


def walk(text: str, name: str) -> tuple[Offer, ...]:
    """Return the folders (and, for a learngene, its files) that a path which is being typed leads to."""
    if not (text.startswith(("~", ".")) or os.sep in text):
        return ()
    try:
        place = Path(text).expanduser()
    except RuntimeError:  # No such user, or not yet: the name is being typed.
        return ()
    folder, start = (place, "") if text.endswith(os.sep) or text == "~" else (place.parent, place.name)
    found = [
        Offer(str(path), about, walk=False) if (about := about_data(path)) else Offer(str(path), "folder", walk=True)
        for path in _folders(folder)
    ]
    if name == "learngene":
        found += [Offer(str(path), "learngene") for path in _files(folder)]
    elif name in ("checkpoint", "teacher"):
        found = [
            Offer(each.text, "a folder that timm loads") if (Path(each.text) / "config.json").is_file() else each
            for each in found
        ]
    return tuple(each for each in found if Path(each.text).name.startswith(start))


def about_data(folder: Path) -> str | None:
    """Return the names of a data set's folders, as in 'train/ and val/'; None when a folder does not look like one."""
    try:
        splits = find_splits(folder)
    except OSError:
        return None
    if splits.train is None or splits.validation is None:
        return None
    return f"{splits.train.name}/ and {splits.validation.name}/"


def _data(settings: Settings) -> Iterable[Offer]:
    yield from (Offer(text, "recent") for text in settings.data)
    yield Offer(FASHION_MNIST, "28 x 28 pixels, 10 classes")
    yield from (Offer(path.name, about) for path in _folders(Path()) if (about := about_data(path)))
    yield from (Offer(text, about) for text, about in _FROM_TIMM)
    yield Offer(f".{os.sep}", "walk through folders", walk=True)


def _folders(place: Path) -> list[Path]:
    try:
        found = sorted(path for path in place.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:
        return []
    return found[:_MOST]


def _files(place: Path) -> list[Path]:
    try:
        return sorted(place.glob(f"*{SUFFIX}"))[:_MOST]
    except OSError:
        return []
