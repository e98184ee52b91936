"""What the export dialog asks for, as the words of `tleg build` and the names of the files that they make."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError, concerning
from tleg.export.formats import FLOATING, SourceKind, files_first, find_format, parse_layout, parse_precision
from tleg.learngene.container import read_file
from tleg.learngene.header import LAYOUTS, Architecture
from tleg.learngene.profile import Depth, format_depth, parse_profiles
from tleg.models.output import output_of, parse_output
from tleg.references import expect, resolve
from tleg.runs.run import name_of
from tleg.text import format_image_size, read_image_size
from tleg_tui.common.learngenes import resolve_path

DEFAULT_OUTPUT: Final = "exports"
MOST_CLASSES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What is exported.

    argument  how a command line names it
    name      what its exports are called after
    folder    whether it is a folder that timm loads, which has a depth, a layout and a head of its own
    kinds     what can be made of it
    layouts   in which layouts; the first is the default
    classes   of its head; None for a folder
    architecture  of a learngene that is there, for what its depths and sizes mean
    """

    argument: str
    name: str
    folder: bool
    kinds: tuple[str, ...]
    layouts: tuple[str, ...] = ()
    classes: int | None = None
    architecture: Architecture | None = None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of its inputs, where they are known."""
        return None if self.architecture is None else self.architecture.input_size[1:]


@dataclass(frozen=True, slots=True)
class Answers:
    """The dialog's fields, texts as they were typed."""

    kinds: tuple[str, ...]
    depths: str = ""
    dtype: str = FLOATING[0]
    layout: str | None = None
    classes: str = ""
    output: str = DEFAULT_OUTPUT
    replace: bool = False
    pixels: str = ""
    gives: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: the words after `tleg`, and where the exports will be, in the order in which they are made."""

    words: tuple[str, ...]
    targets: tuple[Path, ...]
    output: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of an export that is done; error and agreement are None when it was not verified.

    note  what must be known before it is used elsewhere
    """

    path: Path
    bytes: int
    error: float | None
    agreement: float | None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A line of `tleg build --jsonl`: a stage of the export at a place among `count`, with its figures once it is done."""

    stage: str
    index: int
    count: int
    figures: Figures | None = None


def open_source(argument: str) -> ExportSource:
    """Look at what is to be exported. Raises InputError when it is none. Reads a header at most."""
    reference = resolve(argument)
    if reference.kind == "run" and reference.run is not None:
        # One that is not finished: its last checkpoint is opened when it is built.
        if not reference.learns:
            return ExportSource(argument, reference.run.id, folder=True, kinds=_formats_of("folder"))
        kinds = _formats_of("learngene")
        return ExportSource(argument, reference.run.id, folder=False, kinds=kinds, layouts=LAYOUTS[:1])
    path = expect(reference, "learngene", "folder").place
    if path.is_dir():
        return ExportSource(argument, name_of(path), folder=True, kinds=_formats_of("folder"))
    header = read_file(path).header
    plain = header.architecture.structure is not None
    pools = header.architecture.arguments.get("global_pool") == "avg"
    return ExportSource(
        argument=argument,
        name=name_of(path),
        folder=False,
        kinds=_formats_of("learngene", plain=plain),
        layouts=LAYOUTS if pools else LAYOUTS[:1],
        classes=header.architecture.num_classes,
        architecture=header.architecture,
    )


def read_answers(source: ExportSource, answers: Answers) -> Order:
    """Return what the choices mean. Raises InputError for the first that is wrong, which names its option."""
    if not answers.kinds:
        raise InputError("choose a format: space ticks it", field="export", code="missing")
    depths = _depths(source, answers)
    classes = _classes(source, answers.classes)
    asked = parse_output(answers.gives) if answers.gives.strip() else None
    if source.classes is not None:
        output_of(asked, source.classes)
    if asked is not None:
        for kind in answers.kinds:
            find_format(kind).check_output(asked)
    image_size = read_image_size(answers.pixels.strip() or None)
    if image_size == source.image_size:
        image_size = None
    try:
        output = resolve_path(answers.output)
    except InputError as error:
        said = str(error) if answers.output.strip() else "name a folder for the exports, such as exports"
        raise InputError(said, field="output", code=error.code) from None
    layout = answers.layout if source.layouts and answers.layout != source.layouts[0] else None
    argument = f"./{source.argument}" if source.argument.startswith("-") else source.argument
    words = ["build", argument]
    for depth in depths:
        words += ["--depth", format_depth(depth)]
    for kind in answers.kinds:
        words += ["--export", kind]
    if str(output) != DEFAULT_OUTPUT:
        words += ["--output", str(output)]
    if answers.dtype != FLOATING[0]:
        words += ["--dtype", answers.dtype]
    if layout is not None:
        words += ["--layout", layout]
    if asked is not None and not asked.of_classes:
        words += ["--output-of", str(asked)]
    if classes is not None and classes != source.classes:
        words += ["--num-classes", str(classes)]
    if image_size is not None:
        words += ["--image-size", format_image_size(image_size)]
    if answers.replace:
        words.append("--force")
    precision = parse_precision(answers.dtype)
    targets = tuple(
        output
        / each.file_name(source.name, depth, precision, None if layout is None else parse_layout(layout), image_size, asked)
        for each in map(find_format, answers.kinds)
        for depth in (each.depths_of(depths) if depths else (None,))
    )
    return Order(tuple(words), targets, str(output))


def hold_every_depth(kinds: tuple[str, ...]) -> bool:
    """Whether formats are chosen, and each holds every depth, so that none is asked for."""
    return bool(kinds) and all(find_format(kind).every_depth for kind in kinds)


def _formats_of(source: SourceKind, *, plain: bool = True) -> tuple[str, ...]:
    """The formats that can be made from something in float32; some take plain ViTs alone."""
    return tuple(each.name for each in files_first() if each.takes(source) and (plain or not each.plain))


def read_report(line: str) -> Report | None:
    """Return what a line of `tleg build --jsonl` says; None when it is no such line."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    stage, index, count = (document.get(name) for name in ("stage", "index", "count"))
    if not isinstance(stage, str) or type(index) is not int or type(count) is not int:
        return None
    return Report(stage, index, count, _figures(document.get("built")))


def _figures(document: Any) -> Figures | None:
    if not isinstance(document, dict) or not isinstance(document.get("path"), str) or type(document.get("bytes")) is not int:
        return None
    verification = document.get("verification")
    found = verification if isinstance(verification, dict) else {}
    error, agreement = (_number(found.get(name)) for name in ("max_abs_error", "argmax_agreement"))
    note = document.get("note")
    return Figures(Path(document["path"]), document["bytes"], error, agreement, note if isinstance(note, str) else None)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _depths(source: ExportSource, answers: Answers) -> tuple[Depth, ...]:
    """The depths to build; none for a folder, and none where every depth is in the file."""
    if source.folder or hold_every_depth(answers.kinds):
        return ()
    if not answers.depths.strip():
        raise InputError("name a depth: 8, several: 4,8,12, or a range: 4-8", field="depth", code="missing")
    with concerning("depth"):
        depths = parse_profiles(answers.depths)
        if source.architecture is None:
            return depths
        return tuple(dict.fromkeys(map(source.architecture.simplest, depths)))


def _classes(source: ExportSource, text: str) -> int | None:
    text = text.strip()
    if source.folder or not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MOST_CLASSES:
        raise InputError(f"a head has 1 to {MOST_CLASSES:,} classes, not '{text}'", field="num-classes", code="out-of-range")
    return int(text)
