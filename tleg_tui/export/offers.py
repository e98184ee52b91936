"""What can be asked of the chosen formats beyond what all have: smaller numbers, and how a graph is entered and left.

What they cannot have is not asked, and what was answered there before does not count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import InputError
from tleg.export.formats import (
    FLOATING,
    PRECISIONS,
    Precision,
    SourceKind,
    find_format,
    parse_axes,
    parse_pixels,
    parse_resize,
)
from tleg.export.interface import AXES, DYNAMIC, OPSET, PIXELS, RESIZES, Interface, parse_batch
from tleg.recipes.building import build_options
from tleg.recipes.fields import options_of
from tleg.recipes.io import read_value
from tleg.recipes.precision import PrecisionOptions

_MOST_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class PrecisionAnswers:
    """What decides whether a smaller number type is kept, as it was typed; empty is the default."""

    calibration: str = ""
    calibration_images: str = ""
    data: str = ""
    limit: str = ""
    max_drop: str = ""


@dataclass(frozen=True, slots=True)
class GraphAnswers:
    """How the graph of an ONNX or OpenVINO export is entered and left, as it was typed and chosen; empty is the default."""

    batch: str = DYNAMIC
    opset: str = ""
    pixels: str = PIXELS[0]
    axes: str = AXES[0]
    resize: str = RESIZES[0]
    softmax: bool = False
    top: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be asked.

    calibrates  whether ranges are taken from images
    measures    whether accuracy can be measured beside float32
    graph       whether a graph can be entered and left in other ways
    classes     whether it gives classes, of which there are probabilities and the best
    """

    calibrates: bool = False
    measures: bool = False
    graph: bool = False
    classes: bool = True


def numbers_of(source: SourceKind, kinds: Sequence[str]) -> tuple[Precision, ...]:
    """The number types that all chosen formats have."""
    if not kinds:
        return FLOATING
    formats = [find_format(kind) for kind in kinds]
    return tuple(each for each in PRECISIONS if all(entry.takes(source, each) for entry in formats))


def offer_for(kinds: Sequence[str], dtype: str, *, classes: bool) -> Offer:
    """What can be asked of formats in a number type. `classes`: whether the exports give these."""
    return Offer(
        calibrates=dtype == "int8",
        measures=dtype != FLOATING[0] and classes,
        graph=bool(kinds) and all(find_format(kind).graph for kind in kinds),
        classes=classes,
    )


def read_precision(answers: PrecisionAnswers, offer: Offer, dtype: str) -> PrecisionOptions:
    """What decides on a number type. Raises InputError naming the option."""
    texts: dict[str, str] = {}
    if offer.calibrates:
        texts |= {"calibration": answers.calibration, "calibration-images": answers.calibration_images}
        if not answers.calibration.strip():
            example = "name images to take ranges from: fashion-mnist, or a folder"
            raise InputError(example, field="calibration", code="missing")
    if offer.measures:
        texts |= {"data": answers.data, "limit": answers.limit, "max-drop": answers.max_drop}
    values: dict[str, Any] = {}
    for each in options_of(PrecisionOptions):
        if text := texts.get(each.name, "").strip():
            values[each.name] = read_value(each, _number(text, each.kind))
    options = build_options(PrecisionOptions, values)
    options.check(dtype)
    return options


def precision_words(options: PrecisionOptions) -> Iterator[str]:
    """Those of `tleg build`."""
    gate = options.gate
    for name, value in (
        ("calibration", options.calibration),
        ("calibration-images", options.calibration_images),
        ("data", gate.data),
        ("limit", gate.limit),
        ("max-drop", gate.max_drop),
    ):
        if value is not None:
            yield from (f"--{name}", format(value, "g") if isinstance(value, float) else str(value))


def read_graph(answers: GraphAnswers, offer: Offer) -> Interface:
    """How the graphs are entered and left. Raises InputError naming the option."""
    if not offer.graph:
        return Interface()
    opset = _whole("opset", answers.opset)
    interface = Interface(
        batch=parse_batch(answers.batch.strip() or DYNAMIC),
        opset=OPSET if opset is None else opset,
        input=parse_pixels(answers.pixels),
        layout=parse_axes(answers.axes),
        resize=parse_resize(answers.resize),
        softmax=offer.classes and answers.softmax,
        top=_whole("top", answers.top) if offer.classes else None,
    )
    interface.check()
    return interface


def graph_words(interface: Interface) -> Iterator[str]:
    """Those of `tleg build`."""
    if interface.batch is not None:
        yield from ("--batch", str(interface.batch))
    if interface.opset != OPSET:
        yield from ("--opset", str(interface.opset))
    if interface.input != PIXELS[0]:
        yield from ("--input", interface.input)
    if interface.layout != AXES[0]:
        yield from ("--input-layout", interface.layout)
    if interface.resize != RESIZES[0]:
        yield from ("--resize", interface.resize)
    if interface.softmax:
        yield "--softmax"
    if interface.top is not None:
        yield from ("--top", str(interface.top))


def _number(text: str, kind: type) -> Any:
    """The number that a text means; the text where it means none, which `read_value` refuses."""
    try:
        return kind(text)
    except ValueError:
        return text


def _whole(option: str, text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise InputError(f"{option} must be a whole number, not '{text}'", field=option, code="malformed")
    return int(text)
