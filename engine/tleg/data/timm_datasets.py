"""Data sets by timm's names: archives of images, torchvision's and Hugging Face's sets."""

from pathlib import Path
from typing import Any, Final

from PIL import Image

from tleg.data.datasets import PARTS, Data, Wanted
from tleg.data.decoding import DAMAGED, UnreadableImageError, decode_image, eight_bits
from tleg.data.deep_images import PixelRanges, RangedImages, given_ranges, is_deep
from tleg.data.splits import Split, split_of
from tleg.data.tar import Archive, Member, archive_of, classes_of, read_archive
from tleg.data.tar_images import TarImages
from tleg.errors import DataError, did_you_mean, first_line
from tleg.files import readable_name, readable_path
from tleg.paths import data_folder

_Some = tuple[Archive, tuple[Member, ...]]


def open_archives(path: Path, wanted: Wanted) -> Data:
    """Open train.tar and val.tar in a folder, one archive that holds train/ and val/, or one whose images will be split.

    Raises DataError naming what is missing, empty or different between the splits.
    """
    if not path.exists():
        raise DataError(f"there is no {readable_path(path)}", code="not-found")
    splitting = wanted.validation_split is not None
    if path.is_dir():
        files = {split: archive_of(path, split) for split in PARTS}
        archives = {split: read_archive(file) for split, file in files.items() if file is not None}
        found = {split: (archive, archive.members) for split, archive in archives.items()}
        if "train" not in found and not (wanted.evaluation and found and not splitting):
            raise DataError(
                f"{readable_path(path)} must hold train.tar and val.tar; --validation-split 0.1 does without the latter"
            )
    else:
        archive = read_archive(path)
        found = {split: (archive, members) for split, members in archive.splits().items()}
        if not found:
            alone: Split = "train" if splitting or not wanted.evaluation else split_of(path.stem) or "val"
            found = {alone: (archive, archive.members)}
    train = found.get("train")
    chosen: Split | None = wanted.split or next((split for split in ("val", "test") if split in found), None)
    if chosen is None and wanted.evaluation and list(found) == ["train"] and train is not None and not splitting:
        chosen = "train" if split_of(path.stem) == "train" else None
    held_out = None if splitting or chosen is None else found.get(chosen)
    if not splitting and held_out is None:
        if wanted.split is not None:
            raise DataError(
                f"{readable_path(path)} has no {wanted.split} images by that name; leave --split out",
                field="split",
                code="not-found",
            )
        raise DataError(
            f"{readable_path(path)} is one archive: give --validation-split 0.1, a folder with train.tar and val.tar, or an "
            "archive that holds train/ and val/"
            if not path.is_dir()
            else f"{readable_path(path)} must hold train.tar and val.tar; --validation-split 0.1 does without the latter"
        )
    return _of_archives(path, train, held_out, wanted, PARTS[chosen or "val"])


def _of_archives(path: Path, train: _Some | None, held_out: _Some | None, wanted: Wanted, part: str) -> Data:
    first = train or held_out
    assert first is not None
    if not first[1]:
        raise DataError(f"{readable_path(first[0].path)} holds no images in folders; left out there: {first[0].left_out}")
    classes = spelled = classes_of(first[1])
    known = tuple(map(readable_name, wanted.classes))
    if train is None and set(classes) <= set(known):
        classes, spelled = known, wanted.classes
    if train is not None and len(classes) < 2:
        raise DataError(f"{readable_path(path)} must hold a folder of images for each of two or more classes; it has 1")
    notes, left_out = list[str](), dict[str, int]()
    for archive in {id(some[0]): some[0] for some in (train, held_out) if some is not None}.values():
        if archive.left_out.counts():
            notes.append(f"left out of {readable_path(archive.path)}: {archive.left_out}")
            for reason, count in archive.left_out.counts().items():
                left_out[reason] = left_out.get(reason, 0) + count
    if train is not None and (places := {"/".join(member.folders[:-1]) for member in train[1]}) and len(places) > 1:
        some = ", ".join(f"{place or '.'}/" for place in sorted(places)[:3])
        notes.append(
            f"the classes of {readable_path(train[0].path)} are its innermost folders, found in {len(places)} places: {some}"
        )
    if held_out is not None:
        own = set(classes_of(held_out[1])) if held_out[1] else set()
        if extra := sorted(own - set(classes)):
            raise DataError(f"{readable_path(held_out[0].path)} has other classes than the training images: '{extra[0]}'")
        if missing := [name for name in classes if name not in own]:
            notes.append(
                f"{readable_path(held_out[0].path)} has no images of {len(missing)} of the {len(classes)} classes: "
                + ", ".join(missing[:5])
            )
    most, given = wanted.images.max_pixels, given_ranges(wanted.images)
    images = TarImages(first[0].path, train[1] if train is not None else (), classes, given, most)
    evaluated = TarImages(first[0].path, (), classes, given, most)
    if held_out is not None:
        shared = given if train is None or wanted.evaluation else images.ranges
        evaluated = TarImages(held_out[0].path, held_out[1], classes, shared, most)
    ranges = evaluated.ranges if wanted.evaluation and held_out is not None else images.ranges
    ranges.check()
    notes += [] if ranges.note is None else [ranges.note]
    return Data(
        readable_name(path.stem),
        spelled,
        images,
        evaluated,
        notes=tuple(notes),
        part=part,
        pixel_range=ranges.bounds,
        left_out=left_out,
    )


# Names of theirs for folders, whose images are walked otherwise than here.
_FOLDERS: Final = ("torch/image_folder", "torch/folder", "hfds/imagefolder")
# As timm calls a split.
_TIMM_SPLITS: Final[dict[Split, str]] = {"train": "train", "val": "validation", "test": "test"}


class TimmImages(RangedImages):
    """A data set of timm's whose images can be had by number.

    ranges      of images of more than eight bits; None is what is found on these, when the first is asked for
    max_pixels  images of more are unreadable; None is Pillow's limit
    """

    def __init__(self, dataset: Any, ranges: PixelRanges | None = None, max_pixels: int | None = None) -> None:
        self._dataset = dataset
        self._max_pixels = max_pixels
        super().__init__(ranges)

    def __len__(self) -> int:
        return len(self._dataset)

    def image(self, index: int) -> Image.Image:
        """The image. Raises UnreadableImageError, naming it and saying why."""
        name = self.name(index)
        reader = getattr(self._dataset, "reader", None)
        try:
            # timm's own data set passes over what it cannot decode, so that an image would stand for another.
            source: Any = self._dataset[index][0] if reader is None else reader[index][0]
            if isinstance(source, Image.Image):
                source.load()
        except Exception as error:  # Readers raise many kinds.
            raise UnreadableImageError(f"cannot read {name}: {first_line(error)}", DAMAGED) from error
        image = source if isinstance(source, Image.Image) else decode_image(source, name, self._max_pixels)
        return eight_bits(image, name, self.ranges) if is_deep(image) else image

    def open(self, index: int) -> Image.Image:
        """Open an image without decoding it, where that can be had. Raises whatever timm and Pillow do."""
        reader = getattr(self._dataset, "reader", None)
        source: Any = self._dataset[index][0] if reader is None else reader[index][0]
        return source if isinstance(source, Image.Image) else Image.open(source)

    def label(self, index: int) -> int:
        """The index of its class."""
        return self._labels()[index]

    def name(self, index: int) -> str:
        """Its name in the archive, or 'image 17'."""
        filename = getattr(self._dataset, "filename", None)
        try:
            return readable_path(str(filename(index))) if filename is not None else f"image {index}"
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


def open_timm(text: str, wanted: Wanted) -> Data:
    """Open 'torch/NAME' or 'hfds/NAME', with ':ROOT' after it for a local folder.

    Raises DataError: for a missing package, and offline, with what to do.
    """
    kind = text.partition("/")[0].lower()
    name, _, root = text.partition(":")
    if name.lower() in _FOLDERS:
        raise DataError(
            f"{name} is a folder of images: give the folder itself, as in --data {root or 'FOLDER'}", code="wrong-kind"
        )
    folder = Path(root) if root else data_folder()
    train = _create(name, folder, "train", local=bool(root))
    split = wanted.split or "val"
    if wanted.validation_split is not None:
        validation = None
    else:
        validation = train if split == "train" else _create(name, folder, _TIMM_SPLITS[split], local=bool(root))
    classes = _classes(train)
    given = given_ranges(wanted.images)
    images = TimmImages(train, given, wanted.images.max_pixels)
    # A table of Hugging Face's may hold anything; torchvision's sets are known, and of eight bits.
    ranges = images.ranges if kind == "hfds" else given
    if ranges is not None:
        ranges.check()
    held_out = TimmImages([] if validation is None else validation, ranges, wanted.images.max_pixels)
    return Data(
        name.partition("/")[2],
        classes,
        images,
        held_out,
        part=PARTS[split],
        pixel_range=None if ranges is None else ranges.bounds,
        notes=() if ranges is None or ranges.note is None else (ranges.note,),
    )


def _create(name: str, root: Path, split: str, *, local: bool) -> Any:
    from timm.data import create_dataset

    try:
        root.mkdir(parents=True, exist_ok=True)
        return create_dataset(name, root=str(root), split=split, download=not local and name.lower().startswith("torch/"))
    except ImportError as error:
        package = (error.name or "datasets").partition(".")[0]
        raise DataError(f"{name} needs the package '{package}': pip install {package}", code="not-installed") from error
    except AssertionError as error:
        names = [f"torch/{each}" for each in ("cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist", "imagenet")]
        raise DataError(
            f"timm knows no data set '{name}' ({first_line(error)}).{did_you_mean(name, names)}", code="unknown-name"
        ) from error
    except Exception as error:  # Downloads, archives and readers raise many kinds.
        hint = f"; when offline, give its folder: --data {name}:FOLDER"
        raise DataError(f"cannot open {name} in {root}: {first_line(error)}{hint}") from error


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
