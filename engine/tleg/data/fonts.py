"""Fonts of a machine: where they lie, what they are called, and the pictures of their 62 characters 0-9 A-Z a-z.

Everything that FreeType reads through Pillow is read; nothing else of a font file is. Of a variable font every named style
is a font, of a collection every member.
"""

import os
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tleg.errors import describe_os_error
from tleg.files import hash_file, readable_name

CHARACTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SUFFIXES: Final = (".ttf", ".otf", ".ttc", ".otc", ".pfb")
# Pictures are drawn this many times larger and averaged, so that neither hinting nor the renderer's rounding is seen.
_OVERSAMPLING: Final = 8
_MEASURED_AT: Final = 256  # pixels an em
# A noncharacter (Unicode 15.0, section 23.7): a font that draws something for it draws that for whatever it lacks.
_NO_CHARACTER: Final = chr(0x10FFFF)
# In em: the height or width of the largest character. Less is no outline to speak of, more leaves specks of the others.
_EXTENTS: Final = (0.25, 4.0)
# Less, in the extent of the largest character, leaves specks: the capitals of some scripts are four times their letters.
_SMALLEST_MEDIAN: Final = 0.3
# Of the 62 pictures. Fonts in which l, I and 1 or O and 0 are one form are ordinary; capitals for small letters are not.
_FEWEST_DIFFERENT: Final = 54
# In the places of these, fonts of symbols have ornaments, and those of Greek letters other forms than Latin ones.
_TELLING: Final = "CDFGJLPQRSVWXYcdfghlmnpqrswxyz"
# Of those, how many must be among the five characters of a plain font that they resemble most. Chance gives 2 or 3.
_FEWEST_RECOGNISED: Final = 6
# Italics resemble a plain font that leans; what they lean across for one up.
_LEANINGS: Final = (0.0, 0.25)
# Two fonts are compared by these: letters in which designs differ most.
_COMPARED: Final = "2RGQWagketys"
_FORM_SIDE: Final = 16

Pixels = NDArray[np.uint8]


class UnusableFontError(Exception):
    """A font that gives no 62 pictures; the text says why."""


@dataclass(frozen=True, slots=True)
class Face:
    """One font: a file, a member of a collection, or a named style of a variable font.

    path    its file
    file    the file's name from the folder in which it was looked for, with '/' between
    sha256  of the file
    index   in a collection
    named   the named style of a variable font, or None
    """

    path: Path
    file: str
    sha256: str
    index: int
    named: bytes | None
    family: str
    style: str

    def at(self, pixels: float) -> ImageFont.FreeTypeFont:
        """Open the font with this many pixels an em. Raises OSError."""
        font = ImageFont.truetype(self.path, pixels, self.index, layout_engine=ImageFont.Layout.BASIC)
        if self.named is not None:
            font.set_variation_by_name(self.named)
        return font


def font_folders() -> tuple[Path, ...]:
    """Return the folders in which this system keeps fonts, those that exist."""
    home = Path.home()
    if sys.platform == "darwin":
        known = [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    elif sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", str(home / "AppData" / "Local"))
        known = [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", Path(local) / "Microsoft" / "Windows" / "Fonts"]
    else:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        own = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
        known = [Path(place) / "fonts" for place in (*shared.split(":"), own) if place]
        known += [home / ".fonts", Path("/usr/share/texmf/fonts")]
    return tuple(dict.fromkeys(folder for folder in known if folder.is_dir()))


def find_font_files(folders: Iterable[Path]) -> dict[Path, str]:
    """Return the font files under folders, with their names from there. Raises OSError.

    Links to folders are followed, and each folder is looked into once.
    """
    found: dict[Path, str] = {}
    seen: set[str] = set()
    for folder in folders:
        for place, inside, names in os.walk(folder, onerror=_refuse, followlinks=True):
            real = os.path.realpath(place)
            inside[:] = [] if real in seen else sorted(inside)
            for name in [] if real in seen else names:
                path = Path(place, name)
                if path.suffix.lower() in SUFFIXES:
                    found[path] = readable_name(path.relative_to(folder).as_posix())
            seen.add(real)
    return found


def _refuse(error: OSError) -> None:
    raise error


def faces_of(path: Path, file: str) -> Iterator[Face]:
    """Yield the fonts of a file. Raises UnusableFontError when FreeType reads none of it."""
    try:
        digest = hash_file(path)
        font: ImageFont.FreeTypeFont | None = ImageFont.truetype(path, 16, layout_engine=ImageFont.Layout.BASIC)
        index = 0
        while font is not None:
            family, style = (_clean(name) for name in font.getname())
            for named in _named_styles(font) or (None,):
                said = style if named is None else _clean(named.decode("utf-8", "replace"))
                yield Face(path, file, digest, index, named, family or Path(file).stem, said or "Regular")
            index += 1
            font = _member(path, index)
    except (OSError, ValueError) as error:
        raise UnusableFontError(f"cannot be read: {_say(error)}") from error


def _say(error: Exception) -> str:
    """Without the path, which is another on every machine."""
    return describe_os_error(error) if isinstance(error, OSError) else str(error)


def _member(path: Path, index: int) -> ImageFont.FreeTypeFont | None:
    if path.suffix.lower() not in (".ttc", ".otc"):
        return None
    try:
        return ImageFont.truetype(path, 16, index, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ValueError):
        return None


def _named_styles(font: ImageFont.FreeTypeFont) -> tuple[bytes, ...]:
    try:
        return tuple(dict.fromkeys(font.get_variation_names()))
    except (OSError, NotImplementedError):  # It is not variable.
        return ()


def _clean(name: str | None) -> str:
    return " ".join(re.sub(r"[^\w .,&'()+-]", " ", name or "").split())


@dataclass(frozen=True, slots=True)
class Drawing:
    """The pictures of a font.

    pictures  of the 62 characters in the order of CHARACTERS, white on black
    form      of some of them, each cut out and stretched to a square, shape (characters * side * side,): two fonts with the
              same outlines have nearly the same, whatever the rest of the fonts makes of their scales
    """

    pictures: tuple[Image.Image, ...]
    form: Pixels


def draw(face: Face, size: int) -> Drawing:
    """Draw the 62 characters of a font as pictures of `size` by `size` pixels.

    All are drawn to one scale and on one baseline, so that 'c' and 'C' differ by size as on a page; each stands in the
    middle across. The scale is such that the font fits, with a margin of a fourteenth.

    Raises UnusableFontError for a font that lacks a character, draws nothing for one, or draws something else than letters.
    """
    try:
        inks = _measure(face)
        pictures = _draw(face, size, inks)
    except (OSError, ValueError, MemoryError) as error:
        raise UnusableFontError(f"cannot be drawn: {_say(error)}") from error
    different = len({picture.tobytes() for picture in pictures})
    if different < _FEWEST_DIFFERENT:
        raise UnusableFontError(f"has {different} different pictures for {len(CHARACTERS)} characters")
    recognised = count_recognised([ink.picture for ink in inks])
    if recognised < _FEWEST_RECOGNISED:
        raise UnusableFontError(f"draws no Latin letters, or hardly: {recognised} of {len(_TELLING)} are recognised")
    compared = [_stretch(ink.picture, _FORM_SIDE) for ink, each in zip(inks, CHARACTERS, strict=True) if each in _COMPARED]
    return Drawing(pictures, np.stack([np.asarray(each) for each in compared]).reshape(-1))


@dataclass(frozen=True, slots=True)
class _Ink:
    """What a character blackens, with its box from the origin on the baseline: left, top, right, bottom."""

    picture: Image.Image
    box: tuple[int, int, int, int]


def _ink(font: ImageFont.FreeTypeFont, character: str) -> _Ink | None:
    left, top, right, bottom = (round(edge) for edge in font.getbbox(character, anchor="ls"))
    if right <= left or bottom <= top:
        return None
    if max(right - left, bottom - top) > _EXTENTS[1] * font.size:  # Of a damaged font it may be more than memory holds.
        raise UnusableFontError(f"draws {character!r} {max(right - left, bottom - top) / font.size:.0f} em large")
    picture = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(picture).text((-left, -top), character, 255, font, anchor="ls")
    box = picture.getbbox()
    if box is None:
        return None
    return _Ink(picture.crop(box), (left + box[0], top + box[1], left + box[2], top + box[3]))


def _measure(face: Face) -> list[_Ink]:
    """The ink of the 62 characters at 256 pixels an em."""
    font = face.at(_MEASURED_AT)
    lacking = _ink(font, _NO_CHARACTER)
    inks = []
    for character in CHARACTERS:
        ink = _ink(font, character)
        if ink is None:
            raise UnusableFontError(f"draws nothing for {character}")
        if ink == lacking:
            raise UnusableFontError(f"has no {character}")
        inks.append(ink)
    return inks


def _draw(face: Face, size: int, inks: list[_Ink]) -> tuple[Image.Image, ...]:
    top, bottom = min(ink.box[1] for ink in inks), max(ink.box[3] for ink in inks)
    extent = max(bottom - top, *(ink.picture.width for ink in inks))
    low, high = (bound * _MEASURED_AT for bound in _EXTENTS)
    if not low <= extent <= high:
        raise UnusableFontError(f"its largest character measures {extent / _MEASURED_AT:.2f} em")
    median = statistics.median(max(ink.picture.size) for ink in inks) / extent
    if median < _SMALLEST_MEDIAN:
        raise UnusableFontError(f"most of its characters are small beside its largest: {median:.2f} of it")
    canvas = size * _OVERSAMPLING
    scale = (size - 2 * max(1, size // 14)) * _OVERSAMPLING / extent
    font = face.at(_MEASURED_AT * scale)
    baseline = round((canvas - (bottom - top) * scale) / 2 - top * scale)
    return tuple(_place(_ink(font, character), canvas, baseline) for character in CHARACTERS)


def _place(ink: _Ink | None, canvas: int, baseline: int) -> Image.Image:
    whole = Image.new("L", (canvas, canvas))
    if ink is not None:
        whole.paste(ink.picture, ((canvas - ink.picture.width) // 2, baseline + ink.box[1]))
    return whole.reduce(_OVERSAMPLING)


def _stretch(picture: Image.Image, side: int) -> Image.Image:
    return picture.resize((side, side), Image.Resampling.BOX)


def count_recognised(pictures: Sequence[Image.Image]) -> int:
    """Return how many of 30 letters are among the five characters of a plain font that they resemble most (correlation).

    pictures  of the 62 characters, cut out, in the order of CHARACTERS

    The plain font is the one that Pillow brings, upright and leaning.
    """
    own = _standardise(pictures)
    likeness = np.max([own @ plain.T for plain in _plain_forms()], axis=0)
    better = (likeness > np.diag(likeness)[:, None]).sum(axis=1)
    return int(sum(better[CHARACTERS.index(character)] < 5 for character in _TELLING))


def _standardise(pictures: Iterable[Image.Image]) -> NDArray[np.float64]:
    forms = []
    for picture in pictures:
        framed = Image.new("L", (12, 12))
        framed.paste(_stretch(picture, 10), (1, 1))
        forms.append(np.asarray(framed.filter(ImageFilter.GaussianBlur(0.8)), np.float64).reshape(-1))
    centred = np.stack(forms) - np.mean(forms, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9))


@cache
def _plain_forms() -> tuple[NDArray[np.float64], ...]:
    font = ImageFont.load_default(_MEASURED_AT)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Without FreeType nothing comes here.
    inks = [ink.picture for ink in (_ink(font, character) for character in CHARACTERS) if ink is not None]
    return tuple(_standardise([_lean(ink, leaning) for ink in inks]) for leaning in _LEANINGS)


def _lean(picture: Image.Image, across: float) -> Image.Image:
    room = int(across * picture.height) + 1
    wide = Image.new("L", (picture.width + 2 * room, picture.height))
    wide.paste(picture, (room, 0))
    moved = (1.0, across, -across * picture.height / 2, 0.0, 1.0, 0.0)
    leaning = wide.transform(wide.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR)
    return leaning.crop(leaning.getbbox())
