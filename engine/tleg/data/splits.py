"""Where the training, validation and test images of a folder lie, by the names that people give such folders."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tleg.data.image_files import folders_in

Split = Literal["train", "val", "test"]
# In any case; of several the first counts. Of a name with an ending ('train_images') nobody knows what is meant.
SPLIT_NAMES: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "eval", "evaluation", "dev"),
    "test": ("test", "testing"),
}
_MOST_LOOKED_INTO: Final = 100
# Of images without labels, one in so many is for validation.
_HELD_OUT_ONE_IN: Final = 20


@dataclass(frozen=True, slots=True)
class SplitFolders:
    """The splits of a folder.

    train, val, test  None where there is none
    others            folders that are no split and stay out
    bare              folders with a split's name that hold no folders: images without classes, or a class of that name
    """

    train: Path | None
    val: Path | None
    test: Path | None
    others: tuple[str, ...]
    bare: tuple[str, ...]

    @property
    def validation(self) -> Path | None:
        """What a training validates on: the validation images, or the test images where there are no others."""
        return self.val or self.test

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any((self.train, self.val, self.test))


def split_of(name: str) -> Split | None:
    """Return which split a folder of this name holds, or None."""
    lower = name.lower()
    return next((split for split, names in SPLIT_NAMES.items() if lower in names), None)


def find_splits(folder: Path) -> SplitFolders:
    """Look for a folder's splits. A split holds folders, its classes: 'train' with images in it may be a class as well.

    Raises OSError.
    """
    found = folders_in(folder)
    full = [path for path in found if split_of(path.name) and folders_in(path)]
    chosen = {split: _first(full, names) for split, names in SPLIT_NAMES.items()}
    bare = tuple(path.name for path in found if split_of(path.name) and path not in full)
    others = tuple(path.name for path in found if path not in chosen.values() and path.name not in bare)
    if chosen["train"] is None and others:
        # Without training images they may be classes with such names.
        chosen = dict.fromkeys(chosen)
        others = tuple(path.name for path in found if path.name not in bare)
    return SplitFolders(chosen["train"], chosen["val"], chosen["test"], others, bare)


def held_out(names: Sequence[str]) -> frozenset[str]:
    """Return which of two or more images without labels are held out for validation: one in twenty by the hash of its name.

    An image stays on its side when others come or go. One at least is on each side.
    """
    hashes = {name: int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) for name in names}
    chosen = {name for name, value in hashes.items() if value % _HELD_OUT_ONE_IN == 0}
    ranked = sorted(hashes, key=lambda name: (hashes[name] % _HELD_OUT_ONE_IN, hashes[name]))
    return frozenset((chosen or set(ranked[:1])) - (set(ranked[-1:]) if len(chosen) == len(hashes) else set()))


def splits_below(folder: Path) -> Path | None:
    """Return a folder inside a folder that has splits, for a hint: archives are often unpacked one level too deep."""
    try:
        return next((path for path in folders_in(folder)[:_MOST_LOOKED_INTO] if _has_splits(path)), None)
    except OSError:
        return None


def _has_splits(folder: Path) -> bool:
    try:
        return bool(find_splits(folder))
    except OSError:
        return False


def _first(paths: Iterable[Path], names: tuple[str, ...]) -> Path | None:
    """The path whose name comes first; of several in different case, the one in lower case."""
    ranked = sorted(
        (names.index(path.name.lower()), path.name != path.name.lower(), os.fsencode(path))
        for path in paths
        if path.name.lower() in names
    )
    return Path(os.fsdecode(ranked[0][2])) if ranked else None
