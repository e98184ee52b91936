"""What the export dialog asks for, as the words of `tleg build` and the names of the files that they make."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tleg.errors import InputError, concerning
from tleg.export.formats import FLOATING, Precision, SourceKind, files_first, find_format, parse_layout, parse_precision
from tleg.learngene.architecture import LAYOUTS, Architecture
from tleg.learngene.container import read_file
from tleg.learngene.profile import Depth, format_depth, parse_profiles
from tleg.models.output import Output, output_of, parse_output
from tleg.references import expect, resolve
from tleg.runs.run import name_of
from tleg.text import format_image_size, read_image_size
from tleg_tui.common.learngenes import resolve_path
from tleg_tui.export.offers import (
    GraphAnswers,
    Offer,
    PrecisionAnswers,
    graph_words,
    numbers_of,
    offer_for,
    precision_words,
    read_graph,
    read_precision,
)

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

    @property
    def traced(self) -> bool:
        """Whether it is known to be no plain ViT, so that PyTorch makes its graphs."""
        return self.architecture is not None and self.architecture.structure is None

    def numbers(self, kinds: tuple[str, ...]) -> tuple[Precision, ...]:
        """The number types that all of some formats have."""
        return numbers_of("folder" if self.folder else "learngene", kinds)

    def offer(self, answers: "Answers") -> Offer:
        """What can be asked beyond what all formats have."""
        try:
            asked = _output(answers.gives)
        except InputError:  # Half typed, as yet.
            asked = None
        classes = self.classes != 0 if asked is None else asked.of_classes
        return offer_for(answers.kinds, answers.dtype, classes=classes)


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
    precision: PrecisionAnswers = field(default_factory=PrecisionAnswers)
    graph: GraphAnswers = field(default_factory=GraphAnswers)

    def measured(self, offer: Offer) -> bool:
        """Whether labelled images were named: at some depths, also of a file that holds every depth."""
        return offer.measures and bool(self.precision.data.strip())


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: the words after `tleg`, and where the exports will be, in the order in which they are made.

    data  images that it looks at, as they were named
    """

    words: tuple[str, ...]
    targets: tuple[Path, ...]
    output: str
    data: tuple[str, ...] = ()


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
    offer = source.offer(answers)
    depths = _depths(source, answers, offer)
    classes = _classes(source, answers.classes)
    asked = _output(answers.gives)
    known = source.classes if classes is None else classes
    gives = (asked or Output()) if known is None else output_of(asked, known)
    if asked is not None:
        for kind in answers.kinds:
            find_format(kind).check_output(asked)
    options = read_precision(answers.precision, offer, answers.dtype)
    interface = read_graph(answers.graph, offer)
    interface.check_model(gives, known, every_depth=hold_every_depth(answers.kinds), traced=source.traced)
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
    words += precision_words(options)
    if layout is not None:
        words += ["--layout", layout]
    if asked is not None and not asked.of_classes:
        words += ["--output-of", str(asked)]
    if classes is not None and classes != source.classes:
        words += ["--num-classes", str(classes)]
    if image_size is not None:
        words += ["--image-size", format_image_size(image_size)]
    words += graph_words(interface)
    if answers.replace:
        words.append("--force")
    precision = parse_precision(answers.dtype)
    targets = tuple(
        output
        / each.file_name(
            source.name,
            depth,
            precision,
            None if layout is None else parse_layout(layout),
            image_size,
            asked,
            interface,
        )
        for each in map(find_format, answers.kinds)
        for depth in (each.depths_of(depths) if depths else (None,))
    )
    data = tuple(each for each in (options.calibration, options.gate.data) if each is not None)
    return Order(tuple(words), targets, str(output), data)


def hold_every_depth(kinds: tuple[str, ...]) -> bool:
    """Whether formats are chosen, and each holds every depth, so that none is asked for."""
    return bool(kinds) and all(find_format(kind).every_depth for kind in kinds)


def _formats_of(source: SourceKind, *, plain: bool = True) -> tuple[str, ...]:
    """The formats that can be made from something in float32; some take plain ViTs alone."""
    return tuple(each.name for each in files_first() if each.takes(source) and (plain or not each.plain))


def _output(text: str) -> Output | None:
    return parse_output(text) if text.strip() else None


def _depths(source: ExportSource, answers: Answers, offer: Offer) -> tuple[Depth, ...]:
    """The depths to build, or where every depth is in the file those to measure; none for a folder."""
    if source.folder:
        return ()
    if hold_every_depth(answers.kinds) and not (answers.measured(offer) and answers.depths.strip()):
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
