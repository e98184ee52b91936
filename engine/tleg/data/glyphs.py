"""`python -m tleg.data.glyphs OUTPUT`: a data set of characters, drawn from the fonts that are on this machine.

62 classes, 0-9 A-Z a-z, one picture of each for each font, greyscale, as an image folder that `--data` takes. Training and
validation images are of different families of fonts. The same fonts give the same bytes, with the same Pillow and FreeType;
`fonts.json` in the folder says which fonts those were, and what was left out and why.
"""

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import features

from tleg.data.fonts import (
    CHARACTERS,
    Face,
    Pixels,
    UnusableFontError,
    draw,
    faces_of,
    find_font_files,
    font_folders,
)
from tleg.data.making import (
    ArgumentParser,
    choose_validation,
    counting,
    encode_png,
    own_names,
    run_program,
    write_image_folder,
)
from tleg.errors import DataError, InputError, locate_os_error
from tleg.files import check_folder, readable_path
from tleg.terminal import Counting
from tleg.versions import versions

LISTING: Final = "fonts.json"
# Root of the mean squared difference of two fonts' forms, of 255. Among 1,600 fonts, pairs under other names with the same
# outlines are below 30, and the first that merely resemble each other, hairlines, above 35.
_KINSHIP: Final = 30
_ROWS_AT_ONCE: Final = 512
# What follows a family's name in the names of its styles.
_STYLE_WORDS: Final = re.compile(
    r"thin|hairline|(extra|ultra|semi|demi)?(light|bold|condensed|expanded)|book|regular|normal|medium|demi|black|heavy|ultra"
    r"|italic|oblique|cond|narrow|compressed|extended|wide|variable|vf|[\d.]+(pt)?"
)


@dataclass(frozen=True, slots=True)
class Font:
    """A font whose pictures are in the set.

    name      of its pictures: family, style, and the beginning of a hash that tells it from others
    pictures  PNG files of the 62 characters
    form      see `tleg.data.fonts.Drawing`
    """

    face: Face
    name: str
    pictures: tuple[bytes, ...]
    form: Pixels


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, or a font in it, that is not in the set."""

    file: str
    family: str | None
    style: str | None
    reason: str


def class_name(character: str) -> str:
    """Return a character's class: 'digit_0', 'upper_A', 'lower_a', which differ where file systems know no case."""
    kind = "digit" if character.isdigit() else "upper" if character.isupper() else "lower"
    return f"{kind}_{character}"


def read_fonts(folders: Sequence[Path], size: int, progress: Counting) -> tuple[list[Font], list[LeftOut]]:
    """Draw every font under the folders, sorted by family, style and file. Raises DataError when there is none."""
    files = _find(folders)
    drawn: list[Font] = []
    left_out: list[LeftOut] = []
    for number, (path, file) in enumerate(sorted(files.items(), key=lambda item: (item[1], item[0]))):
        progress(number, len(files))
        try:
            for face in faces_of(path, file):
                try:
                    drawn.append(_draw(face, size))
                except UnusableFontError as error:
                    left_out.append(LeftOut(file, face.family, face.style, str(error)))
        except UnusableFontError as error:
            left_out.append(LeftOut(file, None, None, str(error)))
    drawn.sort(key=lambda font: _order(font.face))
    fonts = _different(drawn, left_out)
    if not fonts:
        raise DataError(
            f"none of {len(files)} font files has all of 0-9 A-Z a-z: {left_out[0].file} {left_out[0].reason}", field="fonts"
        )
    return fonts, sorted(left_out, key=lambda each: (each.file, each.family or "", each.style or ""))


def _find(folders: Sequence[Path]) -> dict[Path, str]:
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {readable_path(folder)}", field="fonts", code="not-found")
    try:
        files = find_font_files(folders)
    except OSError as error:
        raise InputError(f"cannot look for fonts: {locate_os_error(error)}", field="fonts", code="system") from error
    if not files:
        places = ", ".join(readable_path(folder) for folder in folders) or "the folders in which this system keeps them"
        raise DataError(
            f"there are no fonts in {places}",
            field="fonts",
            code="not-found",
            advice="install some, or name folders: --fonts",
        )
    return files


def _order(face: Face) -> tuple[str, str, str, int]:
    return face.family.casefold(), face.style, face.file, face.index


def _draw(face: Face, size: int) -> Font:
    drawing = draw(face, size)
    mark = hashlib.sha256(f"{face.sha256}/{face.index}/{face.named!r}".encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9]+", "-", f"{face.family} {face.style}".casefold()).strip("-")[:60]
    return Font(face, f"{words}-{mark}", tuple(encode_png(picture) for picture in drawing.pictures), drawing.form)


def _different(fonts: Sequence[Font], left_out: list[LeftOut]) -> list[Font]:
    """Those whose pictures no font before them has."""
    first: dict[tuple[bytes, ...], Font] = {}
    for font in fonts:
        same = first.setdefault(font.pictures, font)
        if same is not font:
            reason = f"has the pictures of {same.face.family} {same.face.style} ({same.face.file})"
            left_out.append(LeftOut(font.face.file, font.face.family, font.face.style, reason))
    return list(first.values())


def family_of(name: str) -> str:
    """Return a family's name in small letters without what names a style of it: 'Lato Light' is of 'lato'."""
    words = name.casefold().split()
    while len(words) > 1 and _STYLE_WORDS.fullmatch(words[-1]):
        words.pop()
    return " ".join(words)


def group_fonts(families: Sequence[str], forms: np.ndarray[Any, np.dtype[np.uint8]]) -> list[str]:
    """Return the group of each font, named by its first family: those of one family, and those with the same outlines.

    families  of the fonts
    forms     shape (fonts, values)
    """
    parents = {family: family for family in families}

    def root(family: str) -> str:
        while parents[family] != family:
            family = parents[family]
        return family

    # Sums of products of whole numbers are exact below 2^53, in any order: no library decides about a pair.
    values = forms.astype(np.float64)
    squares = (values**2).sum(axis=1)
    most = _KINSHIP**2 * values.shape[1]
    for start in range(0, len(values), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        distances = squares[rows, None] + squares[None] - 2 * values[rows] @ values.T
        for row, column in zip(*np.nonzero(distances <= most), strict=True):
            one, other = sorted((root(families[start + row]), root(families[column])))
            parents[other] = one
    return [root(family) for family in families]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The set before it is written.

    groups      of the fonts, in their order
    validation  the groups whose pictures are validation images
    """

    fonts: list[Font]
    groups: list[str]
    validation: set[str]
    left_out: list[LeftOut]

    def split_of(self, group: str) -> str:
        """'train' or 'val'."""
        return "val" if group in self.validation else "train"

    @property
    def counts(self) -> Counter[str]:
        """Fonts of each split."""
        return Counter(map(self.split_of, self.groups))


def collect(folders: Sequence[Path], size: int, validation: float, seed: int, progress: Counting) -> Glyphs:
    """Draw the fonts and divide them. Raises DataError where there are none, or all are of one family."""
    fonts, left_out = read_fonts(folders, size, progress)
    groups = group_fonts([family_of(font.face.family) for font in fonts], np.stack([font.form for font in fonts]))
    sizes = Counter(groups)
    if len(sizes) < 2:
        raise DataError(f"all fonts are of one family, {fonts[0].face.family}, and validation needs another", field="fonts")
    return Glyphs(fonts, groups, choose_validation(sizes, validation, seed), left_out)


def write(glyphs: Glyphs, output: Path, options: Mapping[str, Any], overwrite: bool, progress: Counting) -> None:
    """Write the folder, whole or not at all. Raises InputError, ExportError."""
    pictures = {
        f"{glyphs.split_of(group)}/{class_name(character)}/{font.name}.png": picture
        for font, group in zip(glyphs.fonts, glyphs.groups, strict=True)
        for character, picture in zip(CHARACTERS, font.pictures, strict=True)
    }
    listing = LISTING, describe(glyphs, options)
    classes = [class_name(character) for character in CHARACTERS]
    write_image_folder(output, classes, pictures, listing, overwrite=overwrite, progress=progress)


def describe(glyphs: Glyphs, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fonts.json says: what the set was made with and of, and what was left out."""
    made = {key: value for key, value in versions("tleg", "pillow").items() if key != "python"}
    return {
        "version": 1,
        "made_with": {**made, "freetype": features.version("freetype2")},
        **options,
        "classes": {class_name(character): character for character in CHARACTERS},
        "pictures": {split: fonts * len(CHARACTERS) for split, fonts in sorted(glyphs.counts.items())},
        "fonts": [
            {
                "file": font.face.file,
                "sha256": font.face.sha256,
                "index": font.face.index,
                "family": font.face.family,
                "style": font.face.style,
                "group": group,
                "split": glyphs.split_of(group),
                "pictures": len(font.pictures),
                "name": font.name,
            }
            for font, group in zip(glyphs.fonts, glyphs.groups, strict=True)
        ],
        "left_out": [
            {"file": each.file, "family": each.family, "style": each.style, "reason": each.reason}
            for each in glyphs.left_out
        ],
    }


def _arguments(arguments: Sequence[str] | None) -> Any:
    parser = ArgumentParser("python -m tleg.data.glyphs", description="Draw a data set of characters from fonts.")
    parser.add_argument("output", nargs="?", type=Path, metavar="OUTPUT", help="the folder to make")
    parser.add_argument(
        "--fonts",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folders to look for fonts in, with those inside (default: where this system keeps them)",
    )
    parser.add_argument("--list", action="store_true", help="print what would be used and left out, and write nothing")
    parser.add_common(28, "families")
    given = parser.read(arguments)
    if given.output is None and not given.list:
        raise InputError("the folder to make is missing", field="output", code="missing")
    return given


def make(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, and make the set or list its fonts. Raises InputError, DataError, ExportError."""
    given = _arguments(arguments)
    if not given.list:
        check_folder(given.output, overwrite=given.force, own=own_names(LISTING))
    folders = font_folders() if given.fonts is None else given.fonts
    with counting("drawing") as progress:
        glyphs = collect(folders, given.size, given.validation, given.seed, progress)
    if given.list:
        _print(glyphs)
    else:
        options = {"size": given.size, "seed": given.seed, "validation": given.validation}
        with counting("writing") as progress:
            write(glyphs, given.output, options, given.force, progress)
    print(_summary(glyphs), file=sys.stderr)


def _print(glyphs: Glyphs) -> None:
    for font, group in zip(glyphs.fonts, glyphs.groups, strict=True):
        print(f"{glyphs.split_of(group)}\t{font.face.family}\t{font.face.style}\t{font.face.file}")
    for each in glyphs.left_out:
        print(f"left out\t{each.family or ''}\t{each.style or ''}\t{each.file}\t{each.reason}")


def _summary(glyphs: Glyphs) -> str:
    families = Counter(map(glyphs.split_of, sorted(set(glyphs.groups))))
    sides = (
        f"{split}: {glyphs.counts[split] * len(CHARACTERS):,} pictures of {glyphs.counts[split]:,} fonts in "
        f"{families[split]:,} {'family' if families[split] == 1 else 'families'}"
        for split in ("train", "val")
    )
    return f"{'; '.join(sides)}; left out: {len(glyphs.left_out):,} fonts"


if __name__ == "__main__":
    sys.exit(run_program(make))
