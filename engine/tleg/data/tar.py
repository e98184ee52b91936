"""Archives of images: FILE.tar, whose innermost folders are the classes, or which holds train/ and val/ with such folders.

Also a tar of tars, one for each class, as ImageNet is handed out. Classes and images are in natural order (2 before 10), as
timm has them. Standard library only, so that the workbench can count.
"""

import io
import os
import posixpath
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.data.image_files import LeftOut, is_hidden, is_image
from tleg.data.splits import SPLIT_NAMES, Split, split_of
from tleg.errors import DataError, describe_os_error
from tleg.files import readable_name, readable_path

_COMPRESSED: Final = {b"\x1f\x8b": "gunzip", b"BZ": "bunzip2", b"\xfd7": "unxz", b"(\xb5": "unzstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """An image in an archive: its path there, and which bytes of the file it is."""

    path: str
    offset: int
    size: int

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that it lies in, the outermost first."""
        return tuple(part for part in posixpath.dirname(self.path).split("/") if part not in ("", "."))


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive holds: its images, and what was left out."""

    path: Path
    members: tuple[Member, ...]
    left_out: LeftOut

    def splits(self) -> dict[Split, tuple[Member, ...]]:
        """The images by split, as far as folders above the classes have the names of splits; {} without a train/."""
        found: dict[Split, list[Member]] = {}
        for member in self.members:
            above = [part.lower() for part in member.folders[:-1]]
            split = next((key for part in above for key, names in SPLIT_NAMES.items() if part in names), None)
            if split is not None:
                found.setdefault(split, []).append(member)
        return {split: tuple(some) for split, some in found.items()} if "train" in found else {}


def read_archive(path: Path) -> Archive:
    """Index an archive, without reading an image. Raises DataError for a file that is none, or a compressed one."""
    left_out = LeftOut()
    try:
        with path.open("rb") as file:
            program = _COMPRESSED.get(file.read(2))
            if program is not None:
                raise DataError(
                    f"{readable_path(path)} is compressed, and its images could not be had by number; {program} it"
                )
            file.seek(0)
            members = tuple(_index(file, "", 0, left_out))
    except OSError as error:
        raise DataError(f"cannot read {readable_path(path)}: {describe_os_error(error)}", code="system") from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DataError(f"{readable_path(path)} is no archive that can be read: {error}") from error
    return Archive(path, members, left_out)


def classes_of(members: Sequence[Member]) -> tuple[str, ...]:
    """Return the classes of images in the order of their labels. Raises DataError when two are called the same."""
    raw = sorted({member.folders[-1] for member in members}, key=natural_key)
    names = tuple(map(readable_name, raw))
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"two folders of the archive are both called '{twice}', in other bytes; put their images into one")
    return names


def class_of(member: Member) -> str:
    """The class of an image: the folder that it lies in."""
    return readable_name(member.folders[-1])


def archive_of(folder: Path, split: Split) -> Path | None:
    """The archive of a split in a folder, whatever the case of its name."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() == ".tar" and split_of(path.stem) == split)
    return next((path for path in found if path.is_file() and not path.name.startswith(".")), None)


def natural_key(text: str) -> list[Any]:
    """A key that puts 2 before 10, as timm's does."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text.lower())]


def _index(file: Any, above: str, start: int, left_out: LeftOut) -> Iterator[Member]:
    """The images of an archive that begins at a byte of the file, under the path that leads to it."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        files = {posixpath.normpath(member.name): member for member in archive}
        for path, member in files.items():
            target = _followed(path, member, files)
            place = posixpath.join(above, path)
            if member.isdir():
                continue
            if any(is_hidden(part) for part in path.split("/")):
                left_out.hidden += 1
            elif target is None:
                left_out.dead += 1
            elif path.lower().endswith(".tar"):
                inner = _Window(file, start + target.offset_data, target.size)
                yield from _index(inner, posixpath.splitext(place)[0], inner.start, left_out)
            elif not is_image(path):
                left_out.suffixes[posixpath.splitext(path)[1].lower()] += 1
            elif not posixpath.dirname(place).strip("./"):
                left_out.stray += 1
            else:
                yield Member(place, start + target.offset_data, target.size)


def _followed(path: str, member: tarfile.TarInfo, files: dict[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """The file that a member is or links to; None when there is none."""
    for _ in range(len(files)):
        if member.isreg():
            return member
        if member.islnk():
            path = posixpath.normpath(member.linkname)
        elif member.issym():
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
        else:
            return None
        if path not in files:
            return None
        member = files[path]
    return None


class _Window(io.RawIOBase):
    """Some bytes of a file as a file of their own."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self.start, self._size, self._place = start, size, 0
        self._file: Any = file._file if isinstance(file, _Window) else file

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence])
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._place)
        self._file.seek(self.start + self._place)
        content: bytes = self._file.read(left if size < 0 else min(size, left))
        self._place += len(content)
        return content
