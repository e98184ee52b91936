"""How the graph of an export is entered and left, where a runtime wants it otherwise than tleg writes it.

That is the batch, the opset, pixels instead of normalised images, the order of their axes, probabilities or the best
classes instead of logits, and the names of inputs and outputs. Light: the standard library alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

from tleg.errors import FileFormatError, InputError
from tleg.learngene.architecture import MAX_CLASSES
from tleg.learngene.header import Preprocessing
from tleg.models.output import FIELD, Output

OPSET: Final = 20  # The first with Gelu; in ONNX Runtime since 1.17.
LEAST_OPSET: Final = 17  # The first with LayerNormalization, which every layer has twice.
LEAST_TRACED: Final = 18  # What PyTorch's exporter writes by itself; neither it nor onnx takes that below.
MOST_OPSET: Final = 99
MAX_BATCH: Final = 4096
OPSET_RULE: Final = f"files are written from opset {LEAST_OPSET} on, the first with LayerNormalization"
BATCH_RULE: Final = f"a file is made for batches of 1 to {MAX_BATCH:,} images, or for any: dynamic"
DYNAMIC: Final = "dynamic"
IMAGES: Final = "images"
DEPTH: Final = "depth"
# What begins the names of values that enter and leave the graph inside of what is asked for here.
INSIDE: Final = "interface."
IMAGES_INSIDE: Final = f"{INSIDE}images"
LOGITS_INSIDE: Final = f"{INSIDE}logits"
PIXELS_INSIDE: Final = f"{INSIDE}pixels"  # Those that a picture was resized to.

Pixels = Literal["float", "uint8"]
Axes = Literal["nchw", "nhwc"]
Place = Literal["outside", "inside"]
PIXELS: Final[tuple[Pixels, ...]] = ("float", "uint8")
AXES: Final[tuple[Axes, ...]] = ("nchw", "nhwc")
RESIZES: Final[tuple[Place, ...]] = ("outside", "inside")
_FILTERS: Final = ("bicubic", "bilinear")  # What a graph resizes with.
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,99}")
# What an option is called, where it is not called as its field.
_OPTIONS: Final = {"layout": "input-layout", "output_names": "output-name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """How a graph is entered and left. Without arguments it is as tleg writes it where nothing else is asked for.

    batch         images of a batch; None for any number
    opset         of the file
    input         'float', normalised images in the number type of the export, or 'uint8', pixels of 0 to 255, which the
                  graph normalises
    layout        of the input's axes: 'nchw' (batch, channels, height, width) or 'nhwc'
    softmax       probabilities instead of logits
    top           the best so many classes: their values, and their numbers (int64), both (batch, top); None for all classes
    input_name    of the images
    output_names  in the order of the outputs; empty for the usual ones, see `names_of`
    resize        whether pixels are resized and cropped 'outside', before they come, or 'inside': pictures of any one size
    """

    batch: int | None = None
    opset: int = OPSET
    input: Pixels = "float"
    layout: Axes = "nchw"
    softmax: bool = False
    top: int | None = None
    input_name: str = IMAGES
    output_names: tuple[str, ...] = ()
    resize: Place = "outside"

    @property
    def options(self) -> tuple[str, ...]:
        """The options that are not as usual, by name: 'batch', 'input-layout'."""
        usual = Interface()
        changed = (each.name for each in fields(self) if getattr(self, each.name) != getattr(usual, each.name))
        return tuple(_OPTIONS.get(name, name.replace("_", "-")) for name in changed)

    @property
    def is_usual(self) -> bool:
        """Whether it asks for nothing."""
        return not self.options

    @property
    def changes_input(self) -> bool:
        """Whether images are something else than normalised ones in (batch, channels, height, width)."""
        return (self.input, self.layout) != (PIXELS[0], AXES[0])

    @property
    def changes_output(self) -> bool:
        """Whether something else than logits leaves the graph."""
        return self.softmax or self.top is not None

    @property
    def after_entrance(self) -> "Interface":
        """That of the rest of the graph, which takes normalised images."""
        return replace(self, input=PIXELS[0], layout=AXES[0], resize=RESIZES[0], input_name=IMAGES_INSIDE)

    @property
    def in_file_names(self) -> str:
        """What it adds to the name of a file: 'batch1-opset17-uint8-resize-nhwc-softmax-top5', without names."""
        return "-".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.batch is not None:
            yield f"batch{self.batch}"
        if self.opset != OPSET:
            yield f"opset{self.opset}"
        if self.input != PIXELS[0]:
            yield self.input
        if self.resize != RESIZES[0]:
            yield "resize"
        if self.layout != AXES[0]:
            yield self.layout
        if self.softmax:
            yield "softmax"
        if self.top is not None:
            yield f"top{self.top}"

    def names_of(self, output: Output) -> tuple[str, ...]:
        """The names of the graph's outputs: those asked for, else 'logits', 'probabilities', 'values' and 'classes', …"""
        if self.output_names:
            return self.output_names
        if not self.changes_output:
            return output.names
        first = "probabilities" if self.softmax else "values"
        return (first, "classes") if self.top else (first,)

    def check(self) -> None:
        """Refuse what no graph can have. Raises InputError naming the option."""
        if self.batch is not None and not 1 <= self.batch <= MAX_BATCH:
            raise InputError(f"batch: {BATCH_RULE}, not {self.batch}", field="batch", code="out-of-range")
        if not LEAST_OPSET <= self.opset <= MOST_OPSET:
            raise InputError(f"opset: {OPSET_RULE}, not {self.opset}", field="opset", code="out-of-range")
        if self.top is not None and not 1 <= self.top <= MAX_CLASSES:
            raise InputError(f"top must be from 1 to {MAX_CLASSES}, not {self.top}", field="top", code="out-of-range")
        if self.resize == "inside" and self.input != "uint8":
            raise InputError(
                "--resize inside is for pictures, whose pixels are whole numbers: add --input uint8",
                field=("resize", "input"),
                code="conflict",
            )
        for option, name in (("input-name", self.input_name), *(("output-name", each) for each in self.output_names)):
            if not _NAME.fullmatch(name) or name.startswith(INSIDE):
                raise InputError(
                    f"'{name}' cannot be the name of an input or output: it has 1 to 100 letters, digits, _ . : / -, begins "
                    f"with a letter or _ and not with '{INSIDE}'",
                    field=option,
                    code="malformed",
                )
        names = (self.input_name, *self.output_names)
        if len(set(names)) < len(names):
            raise InputError(
                f"inputs and outputs need names of their own, not {', '.join(names)}",
                field=("output-name", "input-name"),
                code="conflict",
            )

    def check_model(
        self,
        output: Output,
        num_classes: int | None,
        *,
        every_depth: bool,
        traced: bool,
    ) -> None:
        """Refuse what a certain model cannot have. Raises InputError.

        num_classes  None where it is not known yet
        every_depth  whether the depth is an input
        traced       whether PyTorch makes the graph
        """
        if traced and self.opset < LEAST_TRACED:
            raise InputError(
                f"--opset {self.opset}: PyTorch traces this architecture, from opset {LEAST_TRACED} on",
                field="opset",
                code="unsupported",
            )
        if self.changes_output and not output.of_classes:
            option = "softmax" if self.softmax else "top"
            raise InputError(
                f"--{option} is for the logits of classes, and --output-of {output} gives none; leave it out",
                field=(option, FIELD),
                code="conflict",
            )
        if self.top is not None and num_classes is not None and self.top > num_classes:
            raise InputError(f"--top {self.top}: the model has {num_classes} classes", field="top", code="out-of-range")
        names = self.names_of(output)
        usual = len(Interface(softmax=self.softmax, top=self.top).names_of(output))
        if len(names) != usual:
            raise InputError(
                f"--output-name was given {len(names)} times, and the export has {usual} output{'s' * (usual > 1)}",
                field="output-name",
                code="conflict",
            )
        taken = [name for name in (self.input_name, *names) if every_depth and name == DEPTH]
        if taken or self.input_name in names:
            name = (taken or [self.input_name])[0]
            raise InputError(
                f"'{name}' is the name of another input or output; choose another",
                field=("input-name", "output-name"),
                code="conflict",
            )

    def check_preprocessing(self, preprocessing: Preprocessing, input_size: tuple[int, int, int]) -> None:
        """Refuse to resize inside of a graph what is not written for one. Raises InputError."""
        if self.resize == "outside":
            return
        _, height, width = input_size
        found = None
        if preprocessing.crop_mode != "center":
            found = f"crops from the centre, and this model is evaluated with '{preprocessing.crop_mode}'"
        elif preprocessing.interpolation not in _FILTERS:
            found = f"interpolates {' or '.join(_FILTERS)}, and this model is evaluated with {preprocessing.interpolation}"
        elif height != width:
            found = f"makes squares, and this model takes {height} x {width} pixels"
        if found is not None:
            raise InputError(f"--resize inside {found}; leave it out", field="resize", code="unsupported")


def check_batch_alone(interface: Interface, name: str) -> None:
    """Refuse all but a fixed batch, of a format of this name. Raises InputError."""
    others = tuple(option for option in interface.options if option != "batch")
    if others:
        raise InputError(
            f"--{others[0]} is for a graph of ONNX or OpenVINO; of such options --export {name} has --batch alone",
            field=(*others, "export"),
            code="unsupported",
        )


def check_recorded(interface: Interface | None, where: str) -> None:
    """Check an interface that a file states. Raises FileFormatError."""
    try:
        if interface is not None:
            interface.check()
    except InputError as error:
        raise FileFormatError(f"{where} states an interface that this tleg does not know: {error}") from error


def parse_batch(text: str) -> int | None:
    """Read the images of a batch: a number, or 'dynamic' for any, which is None. Raises InputError."""
    if text == DYNAMIC:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"batch: {BATCH_RULE}, not '{text}'", field="batch", code="malformed")
    return int(text)
