"""TrueType fonts for tests, written from nothing but the bitmap letters that Pillow brings: every pixel becomes a square."""

import struct
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from tleg.data.fonts import CHARACTERS

PITCH = 100
EM = 1000
Squares = list[tuple[int, int]]


@cache
def letters() -> Mapping[str, Squares]:
    """The pixels of each character: columns to the right, rows upwards."""
    font = ImageFont.load_default_imagefont()
    found = {}
    for character in CHARACTERS:
        mask = font.getmask(character)
        pixels = np.array([mask.getpixel((x, y)) for y in range(mask.size[1]) for x in range(mask.size[0])])
        rows, columns = np.nonzero(pixels.reshape(mask.size[::-1]))
        found[character] = [(int(x), 8 - int(y)) for x, y in zip(columns, rows, strict=True)]
    return found


def font_bytes(
    family: str,
    style: str = "Regular",
    *,
    dot: int = 90,
    tall: float = 1.0,
    lean: float = 0.0,
    form_of: Callable[[str], Squares | None] = lambda character: letters()[character],
    extra: Mapping[str, bytes] | None = None,
    start: int = 0,
) -> bytes:
    """Return a font.

    dot      side of the squares, in hundredths of their distance
    tall     how much taller than wide they are
    lean     of italics
    form_of  the pixels of a character; None where the font lacks it
    extra    tables to add, for one with as many glyphs as characters and one more
    start    where in a file it begins
    """
    forms = {character: form_of(character) for character in CHARACTERS}
    have = [character for character, form in forms.items() if form is not None]
    glyphs = [_glyph([(0, 0), (0, 3)], dot, tall, lean)]
    glyphs += [_glyph(forms[character] or [], dot, tall, lean) for character in have]
    offsets = np.cumsum([0, *map(len, glyphs)])
    count = len(glyphs)
    tables = {
        b"cmap": _cmap({ord(character): number for number, character in enumerate(have, 1)}),
        b"glyf": b"".join(glyphs),
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh", 0x10000, 0x10000, 0, 0x5F0F3CF5, 0, EM, 0, 0, 0, -200, EM, EM, 0, 8, 2, 1, 0
        ),
        b"hhea": struct.pack(">IhhhHhhhhhhhhhhhH", 0x10000, 800, -200, 0, 600, 0, 0, 600, 1, 0, 0, 0, 0, 0, 0, 0, count),
        b"hmtx": struct.pack(">Hh", 600, 0) * count,
        b"loca": b"".join(struct.pack(">I", offset) for offset in offsets),
        b"maxp": struct.pack(">IH13H", 0x10000, count, 400, 100, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0),
        b"name": _names({1: family, 2: style, 4: f"{family} {style}", 256: "Heavier"}),
        **{name.encode(): content for name, content in (extra or {}).items()},
    }
    return _file(tables, start)


def write_font(path: Path, family: str, style: str = "Regular", **options: object) -> Path:
    """Write a font, with the folders above it; options as of `font_bytes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(font_bytes(family, style, **options))  # type: ignore[arg-type]  # whatever `font_bytes` takes
    return path


def write_collection(path: Path, *families: str) -> Path:
    """Write a collection of fonts, each with squares of another size."""
    head = struct.pack(">4sII", b"ttcf", 0x10000, len(families))
    start, members, offsets = len(head) + 4 * len(families), b"", b""
    for number, family in enumerate(families):
        offsets += struct.pack(">I", start + len(members))
        members += font_bytes(family, dot=60 + 20 * number, start=start + len(members))
    path.write_bytes(head + offsets + members)
    return path


def _glyph(squares: Squares, dot: int, tall: float, lean: float) -> bytes:
    if not squares:
        return b""
    points = []
    for column, row in squares:
        left, low = column * PITCH, round(row * PITCH * tall)
        right, high = left + dot * PITCH // 100, low + round(dot * PITCH * tall / 100)
        points += [(x + round(lean * y), y) for x, y in ((left, low), (left, high), (right, high), (right, low))]
    xs, ys = zip(*points, strict=True)
    ends = range(3, len(points), 4)
    content = struct.pack(">hhhhh", len(squares), min(xs), min(ys), max(xs), max(ys))
    content += struct.pack(f">{len(squares)}HH", *ends, 0) + b"\x01" * len(points)
    for values in (xs, ys):
        content += struct.pack(f">{len(points)}h", *np.diff([0, *values]).tolist())
    return content + b"\0" * (-len(content) % 4)


def _cmap(numbers: Mapping[int, int]) -> bytes:
    codes = [*sorted(numbers), 0xFFFF]
    deltas = [(numbers.get(code, 0) - code) % 0x10000 if code != 0xFFFF else 1 for code in codes]
    count = len(codes)
    segments = struct.pack(f">{count}HH{count}H{count}H{count}H", *codes, 0, *codes, *deltas, *[0] * count)
    table = struct.pack(">7H", 4, 14 + len(segments), 0, 2 * count, 0, 0, 0) + segments
    return struct.pack(">HHHHI", 0, 1, 3, 1, 12) + table


def _names(names: Mapping[int, str]) -> bytes:
    texts = {number: text.encode("utf-16-be") for number, text in names.items()}
    records, place = b"", 0
    for number, text in texts.items():
        records += struct.pack(">6H", 3, 1, 0x409, number, len(text), place)
        place += len(text)
    return struct.pack(">HHH", 0, len(texts), 6 + len(records)) + records + b"".join(texts.values())


def _file(tables: Mapping[bytes, bytes], start: int) -> bytes:
    head = struct.pack(">IHHHH", 0x10000, len(tables), 128, 3, 16 * len(tables) - 128)
    place = start + len(head) + 16 * len(tables)
    directory, contents = b"", b""
    for name, content in sorted(tables.items()):
        directory += struct.pack(">4sIII", name, 0, place + len(contents), len(content))
        contents += content + b"\0" * (-len(content) % 4)
    return head + directory + contents
