"""Data sets by timm's names: archives, torchvision's and Hugging Face's sets."""

from pathlib import Path
from typing import Any, Final

from PIL import Image

from tleg.data.dataset import Data
from tleg.data.eight_bits import to_eight_bits
from tleg.errors import DataError, did_you_mean
from tleg.places import data_folder

PREFIXES: Final = ("tar:FILE", "torch/NAME", "hfds/NAME")
# timm reads these as streams.
_STREAMS: Final = ("wds", "hfids", "tfds")
_SPLITS: Final = {"train": ("train", "training"), "validation": ("validation", "val", "test")}


class TimmImages:
    """A data set of timm's whose images can be had by number."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def image(self, index: int) -> Image.Image:
        """The image. Raises DataError when it cannot be decoded, or holds floating-point values."""
        try:
            reader = getattr(self._dataset, "reader", None)
            # timm's own data set passes over what it cannot decode, so that an image would stand for another.
            image: Image.Image = self._dataset[index][0] if reader is None else Image.open(reader[index][0])
            image.load()
        except Exception as error:  # Decoders and readers raise many kinds.
            raise DataError(f"cannot read {self.name(index)}: {_first_line(error)}") from error
        return to_eight_bits(image, self.name(index))

    def label(self, index: int) -> int:
        """The index of its class."""
        return self._labels()[index]

    def name(self, index: int) -> str:
        """Its name in the archive, or 'image 17'."""
        filename = getattr(self._dataset, "filename", None)
        try:
            return str(filename(index)) if filename is not None else f"image {index}"
        except Exception:  # Not every reader has names.
            return f"image {index}"

    def _labels(self) -> list[int]:
        """All labels."""
        if not hasattr(self, "_known"):
            self._known = [int(value) for value in _targets(self._dataset)]
        return self._known


def _targets(dataset: Any) -> Any:
    """The labels, without decoding images where that can be had: a list of the set's, of its reader's, a table's column."""
    reader: Any = getattr(dataset, "reader", None)
    for holder in (dataset, reader):
        if getattr(holder, "targets", None) is not None:
            return holder.targets
    table = getattr(reader, "dataset", None)
    if table is not None:
        return table[reader.label_key]
    return [dataset[index][1] for index in range(len(dataset))]


def is_timm_name(text: str) -> bool:
    """Whether a text is a data set's name as timm writes them."""
    kind = text.partition("/")[0].lower()
    return text.startswith("tar:") or ("/" in text and kind in ("torch", "hfds", *_STREAMS))


def open_timm(text: str, *, splits: bool) -> Data:
    """Open 'tar:FILE', 'torch/NAME', 'hfds/NAME', or one of the latter with ':ROOT' for a local folder.

    splits  validation images will be taken from the training images, so there need not be any

    Raises DataError: for sets that timm reads as streams, for a missing package, and offline, with what to do.
    """
    kind = text.partition("/")[0].lower()
    if kind in _STREAMS:
        raise DataError(
            f"timm reads {kind}/ as a stream, and a run that goes on exactly where it was needs images by number; "
            "unpack it into folders, or use hfds/ instead of hfids/"
        )
    if text.startswith("tar:"):
        return _open_archives(Path(text.removeprefix("tar:")), splits=splits)
    name, _, root = text.partition(":")
    folder = Path(root) if root else data_folder()
    train = _create(name, folder, "train", local=bool(root))
    validation = None if splits else _create(name, folder, "validation", local=bool(root))
    classes = _classes(train)
    empty = TimmImages([])
    return Data(name.partition("/")[2], classes, TimmImages(train), empty if validation is None else TimmImages(validation))


def _open_archives(path: Path, *, splits: bool) -> Data:
    """train.tar and val.tar in a folder, or one archive whose images will be split."""
    if not path.exists():
        raise DataError(f"there is no {path}")
    if path.is_dir():
        found = {
            word: next((path / f"{name}.tar" for name in names if (path / f"{name}.tar").is_file()), None)
            for word, names in _SPLITS.items()
        }
        train, validation = found["train"], found["validation"]
        if train is None or (validation is None and not splits):
            raise DataError(f"{path} must hold train.tar and val.tar; --validation-split 0.1 does without the latter")
    elif splits:
        train, validation = path, None
    else:
        raise DataError(f"{path} is one archive: give --validation-split 0.1, or a folder with train.tar and val.tar")
    opened = _create("tar", train, "train", local=True)
    classes = _classes(opened)
    rest = TimmImages([]) if validation is None else TimmImages(_create("tar", validation, "validation", local=True))
    if validation is not None and _classes(rest._dataset) != classes:
        raise DataError(f"{validation} has other classes than {train}")
    return Data(path.stem, classes, TimmImages(opened), rest)


def _create(name: str, root: Path, split: str, *, local: bool) -> Any:
    from timm.data import create_dataset

    try:
        if name == "tar":
            from timm.data import ImageDataset
            from timm.data.readers.reader_image_in_tar import ReaderImageInTar

            return ImageDataset(str(root), reader=ReaderImageInTar(str(root)))
        root.mkdir(parents=True, exist_ok=True)
        return create_dataset(name, root=str(root), split=split, download=not local and name.lower().startswith("torch/"))
    except ImportError as error:
        package = (error.name or "datasets").partition(".")[0]
        raise DataError(f"{name} needs the package '{package}': pip install {package}") from error
    except AssertionError as error:
        names = [f"torch/{each}" for each in ("cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist", "imagenet")]
        raise DataError(f"timm knows no data set '{name}' ({_first_line(error)}).{did_you_mean(name, names)}") from error
    except Exception as error:  # Downloads, archives and readers raise many kinds.
        hint = "" if name == "tar" else f"; when offline, give its folder: --data {name}:FOLDER"
        raise DataError(f"cannot open {name} in {root}: {_first_line(error)}{hint}") from error


def _classes(dataset: Any) -> tuple[str, ...]:
    """Names in the order of the labels, as far as the set tells them."""
    names = getattr(dataset, "classes", None)
    reader = getattr(dataset, "reader", None)
    if names:
        return tuple(map(str, names))
    mapping = getattr(reader, "class_name_to_idx", None) or getattr(reader, "class_to_idx", None)
    if mapping:
        return tuple(str(name) for name, _ in sorted(mapping.items(), key=lambda pair: pair[1]))
    features = getattr(getattr(reader, "dataset", None), "features", None) or {}
    names = getattr(features.get(getattr(reader, "label_key", "label")), "names", None)
    if names:
        return tuple(map(str, names))
    return tuple(str(label) for label in range(max(TimmImages(dataset)._labels()) + 1))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
