"""The lines of Python that look at a picture with an export, in its runtime, numpy and Pillow alone.

They prepare it as `tleg.data.transforms` does, which is timm's evaluation, step by step in Pillow's words.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tleg.export.formats import Precision
from tleg.export.interface import DEPTH, Interface
from tleg.learngene.header import Preprocessing
from tleg.models.output import Output

PICTURE: Final = "photo.jpg"
_BEST: Final = 5


@dataclass(frozen=True, slots=True)
class RuntimeLines:
    """What a runtime's own lines are.

    imports  lines that import it
    open     lines that make a session of '{name}'
    run      gives all outputs for '{feed}'; `choose` those of several '{names}'
    classes  the metadata of that name
    float16  whether a float16 export takes images in float16
    """

    imports: tuple[str, ...]
    open: tuple[str, ...]
    run: str
    choose: str
    classes: str
    float16: bool = True


ONNX_RUNTIME: Final = RuntimeLines(
    imports=("import onnxruntime",),
    open=("session = onnxruntime.InferenceSession({name})",),
    run="session.run(None, {feed})",
    choose="session.run({names}, {feed})",
    classes='session.get_modelmeta().custom_metadata_map["classes"]',
)
OPENVINO: Final = RuntimeLines(
    imports=("import openvino",),
    open=(
        "model = openvino.Core().read_model({name})",
        'session = openvino.compile_model(model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})',
    ),
    run="list(session({feed}).values())",
    choose="session({feed}).values()",
    classes='model.get_rt_info(["tleg", "classes"]).value',
)
TORCH_EXPORT: Final = RuntimeLines(
    imports=("import torch",),
    open=(
        'texts = {{"classes": ""}}',
        "session = torch.export.load({name}, extra_files=texts).module()",
    ),
    run="[session(torch.from_numpy(images)).detach().numpy()]",
    choose="[each.detach().numpy() for each in session(torch.from_numpy(images))]",
    classes='texts["classes"]',
)
EXECUTORCH: Final = RuntimeLines(
    imports=("import torch", "from executorch.runtime import Runtime"),
    open=(
        "program = Runtime.get().load_program({name})",
        'session = program.load_method("forward")',
    ),
    run="[each.numpy() for each in session.execute([torch.from_numpy(images.copy())])]",
    choose="[each.numpy() for each in session.execute([torch.from_numpy(images.copy())])]",
    classes='json.loads(program.load_method("tleg").execute([])[0])["classes"]',
)
COREML: Final = RuntimeLines(
    imports=("import coremltools",),
    open=("session = coremltools.models.MLModel({name})",),
    run="list(session.predict({feed}).values())",
    choose="map(session.predict({feed}).get, {names})",
    classes='session.user_defined_metadata["classes"]',
    float16=False,
)


def example(
    name: str,
    preprocessing: Preprocessing,
    interface: Interface,
    output: Output,
    input_size: tuple[int, int, int],
    precision: Precision,
    *,
    runtime: RuntimeLines,
    depth: int | None = None,
) -> str:
    """Return lines that print the best classes of a picture with their probabilities, or make its features.

    name     of the file
    runtime  which the lines are for
    depth    to run a file at that holds every depth; None for others
    """
    return "\n".join(
        [
            "import json" if output.of_classes else "",
            "",
            "import numpy",
            *runtime.imports,
            "from PIL import Image, ImageOps" if preprocessing.exif else "from PIL import Image",
            "",
            *(line.format(name=json.dumps(name, ensure_ascii=False)) for line in runtime.open),
            f"image = {_opened(preprocessing)}",
            *_in_eight_bits(preprocessing),
            *([] if interface.resize == "inside" else _prepare(preprocessing, input_size)),
            *(['image = image.convert("L")'] if input_size[0] == 1 else []),
            *_as_input(preprocessing, interface, input_size[0], precision if runtime.float16 else "float32"),
            *_run(interface, output, depth, runtime),
        ]
    ).strip()


def _opened(preprocessing: Preprocessing) -> str:
    opened = f'Image.open("{PICTURE}")'
    return f"ImageOps.exif_transpose({opened})" if preprocessing.exif else opened


def _in_eight_bits(preprocessing: Preprocessing) -> Iterator[str]:
    """From an open picture to one of colours of 8 bits."""
    if preprocessing.pixel_range is not None:
        yield 'if image.mode[0] in "IF":  # More than 8 bits.'
        yield f"    values = {_eight_bits(*preprocessing.pixel_range)}"
        yield "    image = Image.fromarray(values.clip(0, 255).astype(numpy.uint8))"
    yield 'image = image.convert("RGB")'


def _prepare(preprocessing: Preprocessing, input_size: tuple[int, int, int]) -> Iterator[str]:
    """From a picture to one of the size of the input."""
    _, height, width = input_size
    # As timm's transforms_imagenet_eval rounds.
    rows, columns = (math.floor(side / preprocessing.crop_pct) for side in (height, width))
    resample = f"Image.Resampling.{preprocessing.interpolation.upper()}"
    if preprocessing.crop_mode == "squash":
        yield f"image = image.resize(({columns}, {rows}), {resample})"
    elif preprocessing.crop_mode == "center" and rows == columns:
        yield f"size = [int({rows} * side / min(image.size)) for side in image.size]"
        yield f"image = image.resize(size, {resample})"
    else:
        which = "max" if preprocessing.crop_mode == "border" else "min"
        yield f"ratio = {which}(image.width / {columns}, image.height / {rows})"
        yield f"image = image.resize((round(image.width / ratio), round(image.height / ratio)), {resample})"
    if preprocessing.crop_mode == "border":
        fill = tuple(round(255 * value) for value in (preprocessing.mean * 3)[:3])
        yield f'inner, image = image, Image.new("RGB", ({width}, {height}), {fill})'
        pairs = "zip(image.size, inner.size)"
        yield f"place = [(a - b) // 2 if a >= b else -round((b - a) / 2) for a, b in {pairs}]"
        yield "image.paste(inner, tuple(place))"
    else:
        yield f"left, top = round((image.width - {width}) / 2), round((image.height - {height}) / 2)"
        yield f"image = image.crop((left, top, left + {width}, top + {height}))"


def _eight_bits(low: float, high: float) -> str:
    """As `tleg.data.deep_images.to_eight_bits`."""
    if low.is_integer() and high.is_integer():
        values = "numpy.asarray(image).astype(numpy.int64)"
        return f"({values} - {int(low)}) * 256 // {int(high) - int(low) + 1}"
    return f"numpy.nan_to_num(numpy.rint((numpy.asarray(image).astype(float) - {low!r}) * {255 / (high - low)!r}))"


def _as_input(preprocessing: Preprocessing, interface: Interface, channels: int, precision: Precision) -> Iterator[str]:
    """From a picture of the right size to what the session takes."""
    array = "numpy.asarray(image)" if channels > 1 else "numpy.asarray(image)[:, :, None]"
    yield f"pixels = {array}  # (height, width, channels), 0 to 255"
    if interface.input == "float":
        mean, std = (", ".join(map(repr, values)) for values in (preprocessing.mean, preprocessing.std))
        yield f"mean, std = numpy.float32([{mean}]), numpy.float32([{std}])"
        yield "pixels = (pixels / numpy.float32(255) - mean) / std"
        if precision == "float16":
            yield "pixels = pixels.astype(numpy.float16)"
    batch = "pixels[None]" if interface.layout == "nhwc" else "pixels.transpose(2, 0, 1)[None]"
    if interface.batch not in (None, 1):
        yield f"images = numpy.repeat({batch}, {interface.batch}, axis=0)  # The file takes {interface.batch} at once."
    else:
        yield f"images = {batch}"


def _run(interface: Interface, output: Output, depth: int | None, runtime: RuntimeLines) -> Iterator[str]:
    """From the input to what is said of the picture."""
    feed = f'{{"{interface.input_name}": images}}'
    if depth is not None:
        feed = f'{{"{interface.input_name}": images, "{DEPTH}": numpy.array({depth}, numpy.int64)}}'
    if not output.of_classes:
        names = interface.names_of(output)
        lines = runtime.run if len(names) == 1 else runtime.choose
        found = lines.format(names=json.dumps(names), feed=feed)
        yield f"{', '.join(output.names)}{',' * (len(names) == 1)} = {found}"
        return
    yield f"found = {runtime.run.format(feed=feed)}"
    if interface.top is not None:
        yield "values, numbers = found[0][0], found[1][0]"
    else:
        yield "values = found[0][0].astype(numpy.float64)"
        if not interface.softmax:
            yield "values = numpy.exp(values - values.max())"
            yield "values /= values.sum()"
        yield f"numbers = values.argsort()[::-1][:{_BEST}]"
        yield "values = values[numbers]"
    yield f"names = json.loads({runtime.classes})"
    yield "for value, number in zip(values, numbers):"
    percent = "{value:.4f}" if interface.top is not None and not interface.softmax else "{100 * value:.2f} %"
    yield f'    print(f"{percent}  {{names[number] if names else number}}")'
