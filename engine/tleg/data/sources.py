"""What `--data` may name: a registry of sources, one class each. It finds the source of a text, opens it, and counts in it.

A new source is a class here, with what opens it in a module of its own that is imported when it is used, and its words in
the help (`tleg.recipes.options`) and in docs/data.md. Standard library only: the workbench counts as well.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from tleg.data.image_files import LeftOut, folders_in, walk_images
from tleg.data.splits import find_splits, held_out
from tleg.data.tar import archive_of, class_of, read_archive
from tleg.errors import DataError, did_you_mean
from tleg.files import readable_name
from tleg.recipes.images import UNLABELLED

if TYPE_CHECKING:
    from tleg.data.datasets import Data, Wanted


# timm reads these as streams, without numbers.
_STREAMS: Final = ("wds", "hfids", "tfds")


class DataSource(ABC):
    """One kind of data sets; `recognises`, `open` and `name_of` are all that it must have.

    name   of the kind
    forms  how its texts are written, what varies in capitals: 'tar:FILE'
    whose  whose way of writing that is, where it is not ours
    help   as the help of --data says it; '' where that of another kind covers it
    opener 'module:function', imported when something is opened, because it needs numpy or timm
    """

    name: ClassVar[str]
    forms: ClassVar[tuple[str, ...]]
    whose: ClassVar[str] = ""
    help: ClassVar[str] = ""
    opener: ClassVar[str]

    @abstractmethod
    def recognises(self, text: str, place: Path | None = None) -> bool:
        """Whether a text names one; relative paths start at `place`. Opens nothing."""

    @abstractmethod
    def open(self, text: str, wanted: "Wanted") -> "Data":
        """Open the data set of a text. Raises DataError with what is missing."""

    @abstractmethod
    def name_of(self, text: str) -> str:
        """What the data set of a text is called, which it is once it is open as well."""

    def check(self, text: str, *, splitting: bool) -> None:  # noqa: B027  # Of some nothing can be seen.
        """Refuse what is seen to be missing without opening anything. Raises OSError, DataError.

        splitting  whether validation images are taken from the training images
        """

    def _opener(self) -> Callable[..., "Data"]:
        module, _, name = self.opener.partition(":")
        function: Callable[..., Data] = getattr(import_module(module), name)
        return function

    def count(self, text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
        """The number of training images of each class, without opening any; nothing where that cannot be told.

        splitting  whether validation images are taken from the training images
        enough     no class is counted further

        Raises OSError, DataError.
        """
        return iter(())


class FashionMnist(DataSource):
    """Fashion-MNIST, from the machine or downloaded, or from a folder with its four files."""

    name = "fashion-mnist"
    forms = ("fashion-mnist",)
    help = "fashion-mnist"
    opener = "tleg.data.fashion_mnist:open_fashion_mnist"

    def recognises(self, text: str, place: Path | None = None) -> bool:
        """'fashion-mnist' and 'fashion-mnist:FOLDER'."""
        name, separator, folder = text.partition(":")
        return name == self.name and not (separator and not folder)

    def open(self, text: str, wanted: "Wanted") -> "Data":
        """Open it. Raises DataError."""
        from tleg.data.datasets import PARTS

        folder = text.partition(":")[2]
        data = self._opener()(Path(folder) if folder else None)
        return replace(data, validation=data.train, part=PARTS["train"]) if wanted.split == "train" else data

    def name_of(self, text: str) -> str:
        """'fashion-mnist'."""
        return self.name

    def check(self, text: str, *, splitting: bool) -> None:
        """Look for the folder, where one is named. Raises DataError."""
        folder = text.partition(":")[2]
        if folder and not Path(folder).is_dir():
            raise DataError(f"there is no folder {folder}", code="not-found")

    def count(self, text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
        """Its 60,000 training images lie in one file; files of somebody's own may hold others."""
        return iter((6000,) * 10 if text == self.name else ())


class ImageFolder(DataSource):
    """A folder of images, a folder for each class."""

    name = "folder"
    forms = ()
    help = "a folder with train/CLASS/* and val/CLASS/*"
    opener = "tleg.data.image_folder:open_folder"

    def recognises(self, text: str, place: Path | None = None) -> bool:
        """Any folder."""
        return _placed(text, place).is_dir()

    def open(self, text: str, wanted: "Wanted") -> "Data":
        """Find its images. Raises DataError."""
        return self._opener()(Path(text), wanted)

    def name_of(self, text: str) -> str:
        """The folder's name."""
        return readable_name(Path(text).resolve().name)

    def check(self, text: str, *, splitting: bool) -> None:
        """Look for the splits. Raises OSError, DataError."""
        found = find_splits(Path(text))
        if not (splitting or (found.train and found.validation)):
            raise DataError(
                f"{text} must hold the folders train/ and val/, each with a folder of images for each class; "
                "a validation-split of 0.1 takes validation images from the training images"
            )

    def count(self, text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
        """Count files. Raises OSError."""
        folder = _placed(text, place)
        train = find_splits(folder).train or (folder if splitting else None)
        for each in folders_in(train) if train is not None else ():
            counted = zip(walk_images(each, LeftOut()), range(enough), strict=False)
            yield sum(1 for _ in counted)


class UnlabelledImages(DataSource):
    """A tree of images without classes, for distillation by embedding."""

    name = "unlabelled"
    forms = ("unlabelled:FOLDER",)
    help = "unlabelled:FOLDER"
    opener = "tleg.data.unlabelled:open_unlabelled"

    def recognises(self, text: str, place: Path | None = None) -> bool:
        """'unlabelled:FOLDER'."""
        return text.startswith(UNLABELLED)

    def open(self, text: str, wanted: "Wanted") -> "Data":
        """Find its images. Raises DataError."""
        return self._opener()(self._path(text), wanted)

    def name_of(self, text: str) -> str:
        """The folder's name."""
        return readable_name(self._path(text).resolve().name)

    def check(self, text: str, *, splitting: bool) -> None:
        """Look for the folder. Raises DataError."""
        if not self._path(text).is_dir():
            raise DataError(f"there is no folder {text.removeprefix(UNLABELLED)}", code="not-found")

    def count(self, text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
        """Count files, without those that are held out. Raises OSError."""
        folder = _placed(str(self._path(text)), place)
        found = [path for path, _ in zip(walk_images(folder, LeftOut()), range(enough), strict=False)]
        if found:
            names = [path.relative_to(folder).as_posix() for path in found]
            yield len(names) - (0 if splitting else len(held_out(names)))

    def _path(self, text: str) -> Path:
        return Path(text.removeprefix(UNLABELLED))


class Archives(DataSource):
    """Tar archives of images."""

    name = "tar"
    forms = ("tar:FILE",)
    whose = "timm's"
    opener = "tleg.data.timm_datasets:open_archives"

    def recognises(self, text: str, place: Path | None = None) -> bool:
        """'tar:FILE', and 'tar:FOLDER' with train.tar and val.tar."""
        return text.startswith("tar:")

    def open(self, text: str, wanted: "Wanted") -> "Data":
        """Index them. Raises DataError."""
        return self._opener()(self._path(text), wanted)

    def name_of(self, text: str) -> str:
        """The file's name without its suffix."""
        return readable_name(self._path(text).stem)

    def check(self, text: str, *, splitting: bool) -> None:
        """Look for the file. Raises DataError."""
        path = text.removeprefix("tar:")
        if not Path(path).exists():
            raise DataError(f"there is no {path}", code="not-found")

    def count(self, text: str, place: Path | None, *, splitting: bool, enough: int) -> Iterator[int]:
        """Count what an archive's index lists. Raises DataError."""
        path = _placed(str(self._path(text)), place)
        file = archive_of(path, "train") if path.is_dir() else path
        if file is None:
            return
        archive = read_archive(file)
        counts: dict[str, int] = {}
        for member in archive.splits().get("train", archive.members):
            counts[class_of(member)] = counts.get(class_of(member), 0) + 1
        yield from counts.values()

    def _path(self, text: str) -> Path:
        return Path(text.removeprefix("tar:"))


class TimmDatasets(DataSource):
    """torchvision's and Hugging Face's data sets, by timm's names; ':ROOT' after one is a local folder."""

    name = "timm"
    forms = ("torch/NAME", "hfds/NAME")
    whose = "timm's"
    help = "timm's name, such as torch/cifar10"
    opener = "tleg.data.timm_datasets:open_timm"

    def recognises(self, text: str, place: Path | None = None) -> bool:
        """Those, and what timm reads as a stream, to say what to do instead."""
        return "/" in text and text.partition("/")[0].lower() in ("torch", "hfds", *_STREAMS)

    def open(self, text: str, wanted: "Wanted") -> "Data":
        """Open or download it. Raises DataError."""
        kind = text.partition("/")[0].lower()
        if kind in _STREAMS:
            raise DataError(
                f"timm reads {kind}/ as a stream, and a run that goes on exactly where it was needs images by number; "
                "unpack it into folders, or use hfds/ instead of hfids/",
                code="unsupported",
            )
        return self._opener()(text, wanted)

    def name_of(self, text: str) -> str:
        """What follows the slash."""
        return text.partition(":")[0].partition("/")[2]


SOURCES: Final[dict[str, DataSource]] = {}


def register(source: DataSource) -> None:
    """Add a source; those before it are asked first. Raises ValueError for a name that is taken."""
    if source.name in SOURCES:
        raise ValueError(f"there is a data source '{source.name}'")
    SOURCES[source.name] = source


for _each in (FashionMnist(), ImageFolder(), UnlabelledImages(), Archives(), TimmDatasets()):
    register(_each)


def source_of(text: str, place: Path | None = None) -> DataSource | None:
    """Return the source that a text names a data set of; None where it names none. Relative paths start at `place`."""
    return next((each for each in SOURCES.values() if each.recognises(text, place)), None)


def find_source(text: str, near: Sequence[str] = ()) -> DataSource:
    """Return the source that a text names a data set of.

    near  other names that may have been meant, such as those of folders beside it

    Raises DataError with what is known, and the closest name.
    """
    source = source_of(text)
    if source is not None:
        return source
    if Path(text).exists():
        raise DataError(f"{text} is a file; name the folder that holds train/ and val/, or tar:{text}", code="wrong-kind")
    by_owner: dict[str, list[str]] = {}
    for each in SOURCES.values():
        by_owner.setdefault(each.whose, []).extend(each.forms)
    own, *others = (f"{whose} {', '.join(forms)}".strip() for whose, forms in sorted(by_owner.items()))
    names = [*(each.name for each in SOURCES.values() if each.name in each.forms), *near]
    known = ", and ".join((own, *others))
    raise DataError(
        f"there is no folder and no known data set '{text}'; known: {known}.{did_you_mean(text, names)}", code="not-found"
    )


def data_name(text: str) -> str:
    """Return what a data set is called, without opening it: the name that it has once it is open."""
    source = source_of(text)
    name = text.partition(":")[0]
    return name.partition("/")[2] or name if source is None else source.name_of(text)


def _placed(text: str, place: Path | None) -> Path:
    return Path(text) if place is None else place / text
