"""What a smaller number type costs an export and saves, beside float32: read from a build's report, and shown as lines."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tleg.text import format_bytes

# Cells of what a line is about, and of each of its two figures.
_LABEL: Final = 22
_FIGURE: Final = 12


@dataclass(frozen=True, slots=True)
class Cost:
    """An export beside the same in float32: (float32, this one) of each.

    bytes       of the files, or of the folder's
    seconds     of one image on one thread; None of what ONNX Runtime does not run
    accuracies  depth as it is typed (None where there is none), and top-1 in percent; none without labelled images
    images      what was looked at, in words
    """

    bytes: tuple[int, int]
    seconds: tuple[float, float] | None
    accuracies: tuple[tuple[str | None, float, float], ...]
    images: str


def read_cost(document: Any) -> Cost | None:
    """Read `beside_float32` of a manifest; None where there is none that is understood."""
    try:
        before, after = document["bytes"]
        seconds = document["seconds"]
        return Cost(
            bytes=(int(before), int(after)),
            seconds=None if seconds is None else (float(seconds[0]), float(seconds[1])),
            accuracies=tuple(
                (each["depth"], float(each["before"]), float(each["after"])) for each in document["accuracies"]
            ),
            images=_images(document),
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def cost_lines(cost: Cost, dtype: str) -> Iterator[str]:
    """A heading, a line for each figure, and which images were looked at. `dtype` is what the numbers are called."""
    yield _line("beside float32", "float32", dtype)
    for depth, before, after in cost.accuracies:
        about = "top-1" if depth is None else f"top-1, depth {depth}"
        yield _line(f"  {about}", f"{before:.2f} %", f"{after:.2f} %")
    yield _line("  size", *map(format_bytes, cost.bytes))
    if cost.seconds is not None:
        yield _line("  one image, 1 thread", *(f"{1000 * each:.2f} ms" for each in cost.seconds))
    yield cost.images


def _line(about: str, before: str, after: str) -> str:
    return f"{about:<{_LABEL}}{before:>{_FIGURE}}  {after:>{_FIGURE}}"


def _images(document: Any) -> str:
    data, calibration = document["data"], document["calibration"]
    measured = "accuracy not measured" if data is None else f"accuracy on {document['images']:,} images of {data}"
    ranges = "" if calibration is None else f"; ranges from {calibration['images']:,} images of {calibration['data']}"
    return measured + ranges
