"""Image folders: FOLDER/train/CLASS/* and FOLDER/val/CLASS/*. The names of the class folders, sorted, are the classes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from tleg.data.dataset import Data
from tleg.data.eight_bits import to_eight_bits
from tleg.errors import DataError, describe_os_error

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
VALIDATION_NAMES: Final = ("val", "validation", "valid", "test")


@dataclass(frozen=True, slots=True)
class FolderImages:
    """Image files with their labels."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> Image.Image:
        """Decode the file. Raises DataError naming it when it is no image, or holds floating-point values."""
        path = self.files[index]
        try:
            with Image.open(path) as image:
                image.load()
        except Exception as error:  # Decoders of damaged files raise many kinds.
            reason = describe_os_error(error) if isinstance(error, OSError) else str(error) or type(error).__name__
            raise DataError(f"cannot read the image {path}: {' '.join(reason.split())}") from error
        return to_eight_bits(image, f"the image {path}")

    def label(self, index: int) -> int:
        """The index of its class."""
        return self.labels[index]

    def name(self, index: int) -> str:
        """Its path."""
        return str(self.files[index])


def open_folder(folder: Path, *, splits: bool = False) -> Data:
    """Open an image folder. Raises DataError naming what is missing, empty or different between the splits.

    splits  validation images will be taken from the training images: there may be none, and no folder train/ above them
    """
    train = folder / "train"
    validation = next((folder / name for name in VALIDATION_NAMES if (folder / name).is_dir()), None)
    if splits and validation is None:
        train = train if train.is_dir() else folder
        classes = _class_names(train)
        return Data(folder.resolve().name, classes, _scan(train, classes), FolderImages((), ()))
    if not train.is_dir() or validation is None:
        raise DataError(
            f"{folder} must hold the folders train/ and val/, each with a folder of images for each class; "
            "--validation-split 0.1 takes validation images from the training images"
        )
    classes = _class_names(train)
    if extra := sorted(set(_class_names(validation)) - set(classes)):
        raise DataError(f"{validation} has the class '{extra[0]}', which {train} lacks")
    return Data(folder.resolve().name, classes, _scan(train, classes), _scan(validation, classes))


def _class_names(split: Path) -> tuple[str, ...]:
    classes = tuple(sorted(path.name for path in split.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{split} must hold a folder of images for each of two or more classes; it has {len(classes)}")
    return classes


def _scan(split: Path, classes: tuple[str, ...]) -> FolderImages:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (split / name).is_dir():
            continue  # Validation images may lack a class.
        found = sorted(path for path in (split / name).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if not found:
            raise DataError(f"the class folder {split / name} holds no images ({', '.join(sorted(SUFFIXES))})")
        files += found
        labels += [label] * len(found)
    return FolderImages(tuple(files), tuple(labels))
