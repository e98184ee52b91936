"""Which files of a folder are images, and what is left out, counted. Standard library only, so that the workbench can count.

Hidden files and folders never count: what macOS ('._x.jpg', '.DS_Store', '__MACOSX'), Jupyter ('.ipynb_checkpoints'),
Windows and NAS systems put beside images. Folders inside a class count with all that is below them, links to folders as
well; each folder once, so that links that lead in a circle end.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# What Pillow decodes without a plugin of somebody else's.
SUFFIXES: Final = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".avifs", ".gif", ".bmp", ".dib"),
        *(".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        *(".tga", ".icb", ".vda", ".vst", ".qoi", ".psd", ".dds", ".ico", ".cur", ".icns", ".pcx", ".dcx", ".sgi"),
        *(".rgb", ".rgba", ".bw", ".ras", ".im", ".msp", ".pcd", ".pxr", ".xbm", ".xpm", ".blp", ".ftc", ".ftu"),
        *(".gbr", ".fli", ".flc", ".fit", ".fits"),
    }
)
# What Pillow has a name for and no decoder, or one that runs another program, and films.
NOT_READ: Final = frozenset(
    {".bufr", ".grib", ".h5", ".hdf", ".iim", ".wmf", ".emf", ".eps", ".ps", ".mpg", ".mpeg", ".pdf", ".palm"}
)
# Folders that systems make by themselves, in lower case; they begin with no dot.
SYSTEM_FOLDERS: Final = frozenset(
    {"__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "system volume information"}
)
_SINGULARS: Final = {
    "files and folders": "file or folder",
    "files that are no images": "file that is no image",
    "links to folders that were": "link to a folder that was",
    "links": "link",
    "folders that may": "folder that may",
    "images beside": "image beside",
}
# Suffixes named in a note, the most frequent first.
_SUFFIXES_NAMED: Final = 4


@dataclass(slots=True)
class LeftOut:
    """What was left out, by reason.

    hidden    files and folders that are hidden, or that a system made for itself
    suffixes  files that are no images, by suffix ('' for none)
    dead      links to nothing
    again     links to folders that were met already, or that lead in a circle
    closed    folders that may not be opened
    stray     images beside the class folders
    """

    hidden: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    dead: int = 0
    again: int = 0
    closed: int = 0
    stray: int = 0

    def counts(self) -> dict[str, int]:
        """Reason -> how many, of those that occurred."""
        others = sum(self.suffixes.values())
        named = sorted(self.suffixes.items(), key=lambda pair: (-pair[1], pair[0]))
        words = [f"{suffix or 'no suffix'} {count}" for suffix, count in named[:_SUFFIXES_NAMED]]
        words += ["…"] if len(named) > len(words) else []
        found = {
            "hidden files and folders": self.hidden,
            f"files that are no images ({', '.join(words)})": others,
            "links to nothing": self.dead,
            "links to folders that were met already": self.again,
            "folders that may not be opened": self.closed,
            "images beside the class folders": self.stray,
        }
        return {reason: count for reason, count in found.items() if count}

    def __str__(self) -> str:
        return ", ".join(f"{count} {reason if count > 1 else _one(reason)}" for reason, count in self.counts().items())


def _one(reason: str) -> str:
    """A reason as it is said of one."""
    for many, one in _SINGULARS.items():
        reason = reason.replace(many, one)
    return reason


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no part of a data set."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    """Whether a file of this name is one that Pillow reads."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def folders_in(folder: Path) -> list[Path]:
    """Return the folders, and links to folders, that are not hidden, by name. Raises OSError.

    A link to a folder that this one lies in is none of them: what is in it would count for everything in it.
    """
    with os.scandir(folder) as entries:
        return sorted(
            folder / entry.name
            for entry in entries
            if not is_hidden(entry.name) and _is_folder(entry) and not _leads_up(folder, entry)
        )


def walk_images(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yield the images in a folder and below it, in no order; what is left out is counted on the way.

    A folder that several links lead to is met once. Real folders come before links, so that an image goes by its own path.
    """
    met = {_identity(place) for start in {folder.absolute(), folder.resolve()} for place in (start, *start.parents)}
    folders, links = [folder], list[Path]()
    while folders or links:
        place = folders.pop() if folders else links.pop(0)
        if place is not folder:
            identity = _identity(place)
            if identity is None or identity in met:
                left_out.again += 1
                continue
            met.add(identity)
        try:
            with os.scandir(place) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            left_out.closed += 1
            continue
        for entry in found:
            if is_hidden(entry.name):
                left_out.hidden += 1
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(place / entry.name)
            elif _is_dead(entry):
                left_out.dead += 1
            elif is_image(entry.name) and _is_file(entry):
                yield place / entry.name
            else:
                left_out.suffixes[os.path.splitext(entry.name)[1].lower()] += 1


def count_beside(folder: Path, left_out: LeftOut) -> None:
    """Count what lies beside the class folders of a split. Raises OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                left_out.hidden += 1
            elif _is_folder(entry):
                left_out.again += _leads_up(folder, entry)
            elif _is_dead(entry):
                left_out.dead += 1
            else:
                if is_image(entry.name):
                    left_out.stray += 1
                else:
                    left_out.suffixes[os.path.splitext(entry.name)[1].lower()] += 1


def _identity(place: Path) -> tuple[int, int] | None:
    try:
        found = place.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _leads_up(folder: Path, entry: "os.DirEntry[str]") -> bool:
    """Whether an entry of a folder is a link to a folder that this one lies in, or to itself."""
    if not entry.is_symlink():
        return False
    target, here = os.path.realpath(entry.path), os.path.realpath(folder)
    return os.path.commonpath((target, here)) == target


def _is_dead(entry: "os.DirEntry[str]") -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself.
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
