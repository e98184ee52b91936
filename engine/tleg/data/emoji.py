"""`python -m tleg.data.emoji PACKAGE OUTPUT`: a data set in colour, the emoji of one typeface in the nine groups of Unicode.

PACKAGE is an unpacked npm package of https://github.com/iamcal/emoji-data, such as emoji-datasource-google. An emoji and its
variants, by skin, sex and direction, are on one side. `emoji.json` in the folder says which pictures those were.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tleg.data.making import (
    ArgumentParser,
    choose_validation,
    counting,
    encode_png,
    own_names,
    run_program,
    write_image_folder,
)
from tleg.errors import DataError, InputError, describe_os_error
from tleg.files import check_folder, hash_file, readable_path
from tleg.terminal import Counting
from tleg.versions import versions

LISTING: Final = "emoji.json"
# Five swatches of skin, which are no group of pictures.
_NO_GROUP: Final = "Component"
# Joiners, presentation, tones of skin, sexes, direction: what makes a variant of an emoji.
_VARIANT: Final = re.compile("200D|FE0F|1F3F[B-F]|2640|2642|27A1")
# Girl, boy, man, woman, person: before what they do or have.
_PERSON: Final = re.compile("1F46[6-9]|1F9D1")


@dataclass(frozen=True, slots=True)
class Emoji:
    """A picture: its file in the package, its class, and what it shows, the same for all variants."""

    path: Path
    label: str
    motif: str


def class_of(category: str) -> str:
    """Return the class of a group: 'Food & Drink' is 'food-drink'."""
    return re.sub(r"[^a-z0-9]+", "-", category.casefold()).strip("-")


def motif_of(unified: str) -> str:
    """Return what an emoji shows, by its code points, without what makes a variant: '1F469-200D-1F692' shows '1F692'."""
    points = [point for point in unified.upper().split("-") if not _VARIANT.fullmatch(point)]
    motif = [point for point in points if not _PERSON.fullmatch(point)]
    return "-".join(motif) or ("person" if points else unified.upper())


def read_package(package: Path) -> tuple[list[Emoji], list[str]]:
    """Return the pictures of a package by their names, and the names of those that are left out.

    Raises InputError, DataError.
    """
    if not package.is_dir():
        raise InputError(f"there is no folder {readable_path(package)}", field="package", code="not-found")
    (folder, owner), entries = _pictures_of(package), _entries_of(package)
    found: list[Emoji] = []
    left_out: list[str] = []
    try:
        for entry in entries:
            if not entry[f"has_img_{owner}"]:
                continue
            for name in _names(entry, owner):
                if entry["category"] == _NO_GROUP:
                    left_out.append(name)
                else:
                    found.append(Emoji(folder / name, class_of(entry["category"]), motif_of(entry["unified"])))
    except (KeyError, TypeError, AttributeError) as error:
        raise _strange(package, f"an entry lacks {error}") from error
    return sorted(found, key=lambda emoji: emoji.path.name), sorted(left_out)


def _pictures_of(package: Path) -> tuple[Path, str]:
    folders = sorted(package.glob("img/*/64"))
    if len(folders) != 1:
        raise _strange(package, f"it holds {len(folders)} folders img/NAME/64")
    return folders[0], folders[0].parent.name


def _entries_of(package: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads((package / "emoji.json").read_text("utf-8"))
    except OSError as error:
        raise _strange(package, f"emoji.json: {describe_os_error(error)}") from error
    except ValueError as error:
        raise _strange(package, "emoji.json is no JSON") from error
    return entries


def _names(entry: Mapping[str, Any], owner: str) -> Iterator[str]:
    yield str(entry["image"])
    for variant in (entry.get("skin_variations") or {}).values():
        if variant[f"has_img_{owner}"]:
            yield str(variant["image"])


def _strange(package: Path, reason: str) -> DataError:
    return DataError(
        f"{readable_path(package)} is no unpacked package of emoji: {reason}",
        field="package",
        advice="npm pack emoji-datasource-google, and tar xzf what it fetches",
    )


def divide(emoji: Sequence[Emoji], part: float, seed: int) -> dict[Emoji, str]:
    """Return the split of each picture: of every class the same part, and each motif of a class on one side."""
    motifs: dict[str, Counter[str]] = defaultdict(Counter)
    for each in emoji:
        motifs[each.label][each.motif] += 1
    few = next((label for label, found in motifs.items() if len(found) < 2), None)
    if few is not None:
        raise DataError(f"the class {few} has one motif, and validation needs another", field="package")
    validation = {label: choose_validation(found, part, seed) for label, found in motifs.items()}
    return {each: "val" if each.motif in validation[each.label] else "train" for each in emoji}


def draw(emoji: Emoji, size: int) -> bytes:
    """Return a picture on white as a PNG file in RGB. Raises DataError when it cannot be read."""
    try:
        with Image.open(emoji.path) as picture:
            coloured = picture.convert("RGBA")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {readable_path(emoji.path)}: {error}", field="package", code="bad-file") from error
    whole = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    return encode_png(whole if whole.size == (size, size) else whole.resize((size, size), Image.Resampling.LANCZOS))


def write(package: Path, output: Path, options: Mapping[str, Any], overwrite: bool, progress: Counting) -> Counter[str]:
    """Write the folder, whole or not at all; return the number of pictures of each split.

    options  size, seed and validation

    Raises InputError, DataError, ExportError.
    """
    emoji, left_out = read_package(package)
    splits = divide(emoji, options["validation"], options["seed"])
    pictures = {}
    for number, (each, split) in enumerate(splits.items()):
        progress(number, 2 * len(splits))
        pictures[f"{split}/{each.label}/{each.path.name}"] = draw(each, options["size"])
    counts = Counter(splits.values())
    document = {
        "version": 1,
        "made_with": {key: value for key, value in versions("tleg", "pillow").items() if key != "python"},
        "package": {"emoji.json": hash_file(package / "emoji.json")},
        **options,
        "pictures": dict(sorted(counts.items())),
        "emoji": [
            {
                "image": each.path.name,
                "sha256": hash_file(each.path),
                "class": each.label,
                "motif": each.motif,
                "split": split,
            }
            for each, split in splits.items()
        ],
        "left_out": [{"image": name, "reason": "a swatch of skin"} for name in left_out],
    }
    classes = sorted({each.label for each in emoji})
    write_image_folder(
        output,
        classes,
        pictures,
        (LISTING, document),
        overwrite=overwrite,
        progress=lambda done, total: progress(total + done, 2 * total),
    )
    return counts


def make(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, and make the set. Raises InputError, DataError, ExportError."""
    parser = ArgumentParser("python -m tleg.data.emoji", description="Make a data set of emoji in their nine groups.")
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="emoji-datasource-google or one like it, unpacked")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the folder to make")
    parser.add_common(64, "emoji")
    given = parser.read(arguments)
    check_folder(given.output, overwrite=given.force, own=own_names(LISTING))
    options = {"size": given.size, "seed": given.seed, "validation": given.validation}
    with counting("drawing and writing") as progress:
        counts = write(given.package, given.output, options, given.force, progress)
    print("; ".join(f"{split}: {count:,} pictures" for split, count in sorted(counts.items())), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(run_program(make))
