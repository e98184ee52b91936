"""Image folders: FOLDER/train/CLASS/* and FOLDER/val/CLASS/*. The names of the class folders, sorted, are the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from PIL import Image

from tleg.data.datasets import PARTS, Data, Wanted
from tleg.data.decoding import decode_image, eight_bits
from tleg.data.deep_images import PixelRanges, RangedImages, given_ranges, is_deep
from tleg.data.image_files import SUFFIXES as SUFFIXES
from tleg.data.image_files import LeftOut, count_beside, folders_in, walk_images
from tleg.data.splits import SplitFolders, find_splits, split_of, splits_below
from tleg.errors import DataError, describe_os_error, did_you_mean
from tleg.files import is_utf8, readable_name, readable_path
from tleg.recipes.images import ImageReading

_NAMED: Final = 5  # Classes that a note names.


class FolderImages(RangedImages):
    """Image files with their labels.

    ranges      of images of more than eight bits; None is what is found on these, when the first is asked for
    max_pixels  images of more are unreadable; None is Pillow's limit
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Sequence[int],
        ranges: PixelRanges | None = None,
        max_pixels: int | None = None,
    ) -> None:
        self.files, self.labels = tuple(files), tuple(labels)
        self._max_pixels = max_pixels
        super().__init__(ranges)

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> Image.Image:
        """Decode the file. Raises UnreadableImageError, naming it and saying why."""
        name = f"the image {self.name(index)}"
        image = decode_image(self.files[index], name, self._max_pixels)
        return eight_bits(image, name, self.ranges) if is_deep(image) else image

    def open(self, index: int) -> Image.Image:
        """Open the file without decoding it. Raises whatever Pillow does."""
        return Image.open(self.files[index])

    def label(self, index: int) -> int:
        """The index of its class."""
        return self.labels[index]

    def name(self, index: int) -> str:
        """Its path."""
        return readable_path(self.files[index])


@dataclass(slots=True)
class _Opening:
    """What is gathered while a folder is opened."""

    folder: Path
    images: ImageReading
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def scan(self, split: Path, classes: Sequence[str], ranges: PixelRanges | None, *, all_classes: bool) -> FolderImages:
        """Find the images of a split. `all_classes` requires images of every class."""
        own = _class_folders(split)
        if extra := [name for name in own if name not in classes]:
            hint = did_you_mean(extra[0], classes) or f" They are {', '.join(classes[:_NAMED])}."
            raise DataError(f"{readable_path(split)} has the class '{extra[0]}', which is none of the classes.{hint}")
        found: list[tuple[Path, int]] = []
        left_out, empty, nested = LeftOut(), list[str](), list[str]()
        count_beside(split, left_out)
        for label, name in enumerate(classes):
            place = own.get(name)
            paths = [] if place is None else sorted(walk_images(place, left_out))
            if place is not None and not paths and all_classes:
                told = f"; left out there: {left_out}" if left_out.counts() else ""
                raise DataError(f"the class folder {readable_path(place)} holds no images{told}")
            if not paths:
                empty.append(name)
            elif all(path.parent != place for path in paths):
                nested.append(name)
            found += [(path, label) for path in paths]
        if not found:
            raise DataError(f"{readable_path(split)} holds no images; left out there: {left_out}")
        self._tell(split, left_out, empty, nested, len(classes))
        return FolderImages([path for path, _ in found], [label for _, label in found], ranges, self.images.max_pixels)

    def _tell(self, split: Path, left_out: LeftOut, empty: list[str], nested: list[str], classes: int) -> None:
        where = readable_path(split)
        if left_out.counts():
            self.notes.append(f"left out of {where}: {left_out}")
            for reason, count in left_out.counts().items():
                self.left_out[reason] = self.left_out.get(reason, 0) + count
        if empty:
            self.notes.append(f"{where} has no images of {len(empty)} of the {classes} classes: {_some(empty)}")
        if nested:
            self.notes.append(
                f"in {where} the images of {_some(nested)} lie in folders inside the class folder; if those are the "
                "classes, name the folder above them"
            )

    def say_names(self, names: Mapping[str, Path]) -> None:
        """Say which class names are not those of the disk."""
        for name, path in names.items():
            if not is_utf8(path.name):
                self.notes.append(
                    f"the class folder {readable_path(path)} has a name that is no UTF-8; its class is '{name}'"
                )
            if split_of(name) is not None:
                self.notes.append(f"the folder {readable_path(path)} is taken for a class, not for a split")


def open_folder(folder: Path, wanted: Wanted) -> Data:
    """Open an image folder. Raises DataError naming what is missing, empty or different between the splits.

    Class folders without train/ above them are training images where a part of them is taken for validation, and the images
    to evaluate on where nothing else is wanted.
    """
    try:
        opening = _Opening(folder, wanted.images)
        splits = find_splits(folder)
        if wanted.evaluation and wanted.validation_split is None:
            return _open_evaluated(opening, splits, wanted)
        return _open_training(opening, splits, splitting=wanted.validation_split is not None)
    except OSError as error:
        place = readable_path(error.filename) if isinstance(error.filename, str) else readable_path(folder)
        raise DataError(f"cannot read {place}: {describe_os_error(error)}", code="system") from error


def _open_training(opening: _Opening, splits: SplitFolders, *, splitting: bool) -> Data:
    folder = opening.folder
    train, validation = splits.train, splits.validation
    if splitting and not splits:
        train = folder
    if train is None or (validation is None and not splitting):
        raise DataError(_missing(folder, splits))
    names = _class_folders(train)
    if len(names) < 2:
        raise DataError(
            f"{readable_path(train)} must hold a folder of images for each of two or more classes; it has {len(names)}."
            f"{_below(train)}"
        )
    if train is not folder:
        _say_unused(opening, splits, (train, validation))
    opening.say_names(names)
    classes = tuple(names)
    images = opening.scan(train, classes, given_ranges(opening.images), all_classes=True)
    ranges = _check_ranges(opening, images)
    held_out = FolderImages((), ()) if validation is None else opening.scan(validation, classes, ranges, all_classes=False)
    part = PARTS["test" if splits.val is None and validation is not None else "val"]
    return _data(opening, classes, images, held_out, ranges, part)


def _open_evaluated(opening: _Opening, splits: SplitFolders, wanted: Wanted) -> Data:
    """One split: the one asked for, or what a training would validate on, or a folder that is one split by itself."""
    folder = opening.folder
    if wanted.split is not None:
        chosen = {"train": splits.train, "val": splits.val, "test": splits.test}[wanted.split]
        if chosen is None:
            raise DataError(
                f"{readable_path(folder)} has no {wanted.split} images by that name; {_held(splits)}",
                field="split",
                code="not-found",
            )
        part = PARTS[wanted.split]
    elif not splits and splits_below(folder) is None:
        chosen, part = folder, PARTS[split_of(folder.resolve().name) or "val"]
    elif splits.validation is not None:
        chosen, part = splits.validation, PARTS["val" if splits.val is not None else "test"]
    elif splits.train is None:
        raise DataError(_missing(folder, splits))
    else:
        raise DataError(
            f"{readable_path(folder)} holds training images alone; --split train evaluates on those, --validation-split on "
            "the part of them that a training left out",
            field=("split", "validation-split"),
            code="not-found",
        )
    names = _class_folders(splits.train or chosen)
    if not names:
        raise DataError(_missing(folder, splits))
    classes = spelled = tuple(names)
    known = tuple(map(readable_name, wanted.classes))
    if splits.train is None and set(names) <= set(known):
        classes, spelled = known, wanted.classes
    opening.say_names(names)
    images = opening.scan(chosen, classes, given_ranges(opening.images), all_classes=False)
    ranges = _check_ranges(opening, images)
    return _data(opening, spelled, FolderImages((), ()), images, ranges, part)


def _data(
    opening: _Opening,
    classes: tuple[str, ...],
    train: FolderImages,
    validation: FolderImages,
    ranges: PixelRanges,
    part: str,
) -> Data:
    return Data(
        readable_name(opening.folder.resolve().name),
        classes,
        train,
        validation,
        notes=tuple(opening.notes),
        part=part,
        pixel_range=ranges.bounds,
        left_out=opening.left_out,
    )


def _check_ranges(opening: _Opening, images: FolderImages) -> PixelRanges:
    """The ranges of the images, said where they were found. Raises DataError where they are not known."""
    ranges = images.ranges
    ranges.check()
    opening.notes += [] if ranges.note is None else [ranges.note]
    return ranges


def _class_folders(split: Path) -> dict[str, Path]:
    """Class -> its folder, in the order of the folders' names. Raises DataError when two are called the same."""
    found: dict[str, Path] = {}
    for path in folders_in(split):
        name = readable_name(path.name)
        if name in found:
            raise DataError(
                f"two folders of {readable_path(split)} are both called '{name}', in other bytes: "
                f"{found[name].name!a} and {path.name!a}; put their images into one"
            )
        found[name] = path
    return found


def _say_unused(opening: _Opening, splits: SplitFolders, used: Sequence[Path | None]) -> None:
    rest = [path for path in (splits.test, splits.val) if path is not None and path not in used]
    for path in rest:
        opening.notes.append(f"{readable_path(path)} takes no part in training; `tleg evaluate --split test` measures on it")
    if beside := [*splits.others, *splits.bare]:
        opening.notes.append(
            f"left out of {readable_path(opening.folder)}: the folders {_some(list(map(readable_name, beside)))}"
        )


def _missing(folder: Path, splits: SplitFolders) -> str:
    bare = f"; {readable_name(splits.bare[0])}/ holds no class folders" if splits.bare else ""
    return (
        f"{readable_path(folder)} must hold the folders train/ and val/, each with a folder of images for each class{bare}; "
        f"--validation-split 0.1 takes validation images from the training images.{_below(folder)}"
    )


def _below(folder: Path) -> str:
    inner = splits_below(folder)
    return "" if inner is None else f" {readable_path(inner)} holds such folders"


def _held(splits: SplitFolders) -> str:
    names = [f"{path.name}/" for path in (splits.train, splits.val, splits.test) if path is not None]
    return f"it has {', '.join(names)}" if names else "it holds no folders named train, val or test; leave --split out"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
