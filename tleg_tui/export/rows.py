"""A question of the export dialog: a line with a name, and what it is answered with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Label, Static

from tleg_tui.common.inputs import Field

REPLACE: Final = "replace existing"
# What the questions are called, by the option of `tleg build` that each answers.
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "export": "formats",
        "depth": "depth",
        "dtype": "numbers",
        "calibration": "ranges",
        "calibration-images": "images of ranges",
        "data": "measure",
        "limit": "images to measure",
        "max-drop": "max drop",
        "layout": "layout",
        "output-of": "gives",
        "num-classes": "classes",
        "image-size": "pixels",
        "output": "folder",
        "force": REPLACE,
        "input": "input",
        "input-layout": "axes",
        "resize": "resize",
        "batch": "batch",
        "opset": "opset",
        "softmax": "softmax",
        "top": "top",
    }
)


class Row(Horizontal):
    """The line that answers an option, with the name of that; it is marked while what was answered cannot be."""

    DEFAULT_CSS = """
    Row { height: 1; }
    Row Label { width: 10; color: $text-muted; }
    Row Field { width: 1fr; }
    Row Field.narrow { width: 9; }
    Row .aside { width: auto; color: $text-muted; padding-left: 2; }
    Row .between { width: auto; color: $text-muted; padding: 0 1; }
    Row.-wrong Label { color: $error; }
    """

    def __init__(self, option: str, *answers: Widget, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(Label(NAMES[option]), *answers, id=id)


def number(option: str, usual: str, *, narrow: bool = False) -> Field:
    """A line for a number; `usual` is what it is without one, and `narrow` where it is not alone on its line."""
    return Field(placeholder=usual, id=option, classes="narrow" if narrow else "", compact=True)


def aside(text: str, *, between: bool = False) -> Static:
    """A remark at the end of a line, or between its answers."""
    return Static(text, classes="between" if between else "aside", markup=False)
