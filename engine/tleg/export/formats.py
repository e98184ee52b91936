"""What can be exported: kinds, number types, layouts, and the names of the files. Light: nothing here needs numpy."""

from collections.abc import Iterable
from typing import Final, Literal, TypeVar

from tleg.errors import InputError, did_you_mean
from tleg.learngene.header import LAYOUTS, Layout

ExportKind = Literal["pytorch", "onnx", "onnx-compact", "onnx-elastic"]
EXPORT_KINDS: Final[tuple[ExportKind, ...]] = ("pytorch", "onnx", "onnx-compact", "onnx-elastic")
Precision = Literal["float32", "float16"]
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "float16")
BYTES_OF: Final[dict[Precision, int]] = {"float32": 4, "float16": 2}
SUFFIXES: Final = {"pytorch": "", "onnx": ".onnx", "onnx-compact": ".compact.onnx", "onnx-elastic": ".elastic.onnx"}

Name = TypeVar("Name", bound=str)


def parse_kind(text: str) -> ExportKind:
    """Read the name of an export kind. Raises InputError, with the nearest known name."""
    return _parse(text, EXPORT_KINDS, "export")


def parse_precision(text: str) -> Precision:
    """Read the name of a number type. Raises InputError, with the nearest known name."""
    return _parse(text, PRECISIONS, "dtype")


def parse_layout(text: str) -> Layout:
    """Read the name of a layout. Raises InputError, with the nearest known name."""
    return _parse(text, LAYOUTS, "layout")


def _parse(text: str, known: Iterable[Name], what: str) -> Name:
    names = tuple(known)
    if text not in names:
        raise InputError(
            f"unknown {what} '{text}': choose one of {', '.join(names)}.{did_you_mean(text, names)}",
            field=what,
            code="unknown-name",
        )
    return next(name for name in names if name == text)


def export_name(
    source: str, kind: ExportKind, depth: int | None, precision: Precision = "float32", layout: Layout = "auxiliary"
) -> str:
    """The file or folder name of an export: 'fashion-mnist-depth8.onnx', 'fashion-mnist.elastic.onnx' (depth None).

    source  the name of the learngene, or of the folder whose weights are exported as they are: 'tuned.onnx' (depth None)

    What is not the default is part of the name, so that variants lie side by side.
    """
    parts = [
        source,
        f"depth{depth}" if depth is not None else "",
        "official" if layout == "official" else "",
        precision if precision != "float32" else "",
    ]
    return "-".join(filter(None, parts)) + SUFFIXES[kind]
