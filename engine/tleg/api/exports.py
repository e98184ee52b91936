"""Exports: build and verify."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tleg.api.names import ImageSize, Name, path_of
from tleg.references import DEFAULT_LEARNGENE
from tleg.text import read_image_size

if TYPE_CHECKING:
    from tleg.export.build import BuildStep, BuiltExport
    from tleg.export.verify import Report
    from tleg.learngene.profile import Depth


def build(
    path_or_name: Name = DEFAULT_LEARNGENE,
    depths: "Sequence[Depth]" = (),
    exports: Sequence[str] = ("pytorch",),
    output: Name = "exports",
    *,
    dtype: str = "float32",
    layout: str | None = None,
    num_classes: int | None = None,
    image_size: ImageSize | None = None,
    seed: int = 0,
    verify: bool = True,
    overwrite: bool = False,
    output_of: str | None = None,
    temperature: str = "beside",
    batch: int | None = None,
    opset: int | None = None,
    input_type: str = "float",
    input_layout: str = "nchw",
    resize: str = "outside",
    softmax: bool = False,
    top: int | None = None,
    input_name: str = "images",
    output_names: Sequence[str] = (),
    calibration: Name | None = None,
    calibration_images: int | None = None,
    data: Name | None = None,
    limit: int | None = None,
    max_drop: float | None = None,
    progress: "Callable[[BuildStep], None] | None" = None,
) -> "tuple[BuiltExport, ...]":
    """Export descendants of a learngene, or the model of a folder that timm loads, each with a manifest.

    depths       of the descendants: numbers, or profiles, the blocks of every stage, as in (2, 2, 6, 2); a format that
                 holds every depth, and a folder, need none
    exports      formats: 'pytorch', 'onnx', 'onnx-compact', 'onnx-elastic', 'torch-export', 'executorch',
                 'openvino', 'coreml'
    output       the folder for the exports; made when it is missing
    dtype        'float32', 'float16', or of whole numbers: 'int8' (static), 'int8-dynamic', 'int8-terms', 'int4-terms'
    layout       'auxiliary' (the default) or 'official', see `expand`
    num_classes  another number than the learngene's gives a new head, drawn with `seed`, and drops the class names
    image_size   of the inputs in pixels, one number or (height, width); None is that of the learngene or folder, else its
                 weights are resampled
    verify       run each export and compare it with what it was made from, before it is kept
    overwrite    replace exports that exist
    output_of    what the exports give: 'classes', 'pooled', 'tokens', 'blocks:3,6,9' or 'stages:1,4'; None is logits of
                 classes, and the pooled vector of a model without any
    temperature  where a temperature that the model keeps goes: 'beside' logits, in the metadata of an ONNX file, or 'inside'
                 its graph, which divides them
    batch        of ONNX and OpenVINO: images of a batch; None for any number
    opset        of ONNX files, from 17 on; None is the usual one
    input_type   of ONNX and OpenVINO: 'float', normalised images, or 'uint8', pixels of 0 to 255, normalised inside
    input_layout of ONNX and OpenVINO: 'nchw' or 'nhwc'
    resize       of ONNX, with 'uint8': 'inside' takes pictures of any one size, which the graph resizes and crops
    softmax, top  of ONNX and OpenVINO: probabilities instead of logits; the best so many classes, by value and number
    input_name, output_names  of ONNX and OpenVINO
    progress     called at every stage

    calibration         data, as of `evaluate`: 'int8' takes the ranges of activations from so many of its training images
                        (`calibration_images`, 512)
    data                labelled images that decide whether a smaller `dtype` is kept; None are those of `calibration`
    limit, max_drop     how many of them are looked at, and the points of top-1 that may be lost against float32 (0.5)

    Returns the exports in the order of `exports`, then `depths`: `path`, `manifest_path`, and the `manifest` with what the
    verification measured, and in `beside_float32` accuracy, bytes and seconds beside float32. Everything is checked before
    the first byte is written, and each export appears whole or not at all. Raises InputError for what cannot be built,
    VerificationError when an export computes something else or loses more accuracy than it may, ExportError.
    """
    from tleg.export.build import build_exports
    from tleg.export.formats import (
        find_format,
        parse_axes,
        parse_layout,
        parse_pixels,
        parse_precision,
        parse_resize,
        parse_temperature_place,
    )
    from tleg.export.interface import OPSET, Interface
    from tleg.export.plan import BuildRequest
    from tleg.models.output import parse_output
    from tleg.recipes.precision import AccuracyGate, PrecisionOptions

    request = BuildRequest(
        learngene=path_of(path_or_name, "learngene", "folder"),
        kinds=tuple(find_format(each).name for each in exports),
        depths=tuple(depths),
        output=Path(output),
        precision=parse_precision(dtype),
        layout=None if layout is None else parse_layout(layout),
        num_classes=num_classes,
        image_size=read_image_size(image_size),
        seed=seed,
        overwrite=overwrite,
        verify=verify,
        output_of=None if output_of is None else parse_output(output_of),
        temperature=parse_temperature_place(temperature),
        interface=Interface(
            batch=batch,
            opset=OPSET if opset is None else opset,
            input=parse_pixels(input_type),
            layout=parse_axes(input_layout),
            resize=parse_resize(resize),
            softmax=softmax,
            top=top,
            input_name=input_name,
            output_names=tuple(output_names),
        ),
    )
    options = PrecisionOptions(
        calibration=None if calibration is None else os.fspath(calibration),
        calibration_images=calibration_images,
        gate=AccuracyGate(data=None if data is None else os.fspath(data), limit=limit, max_drop=max_drop),
    )
    options.check(request.precision)
    judge = None
    if options.decides(request.precision):
        from tleg.latency.precision import PrecisionJudge

        judge = PrecisionJudge(options)
    return build_exports(request, progress, judge)


def verify(path_or_name: Name, learngene: Name | None = None, targets: Sequence[str] = ()) -> "Report":
    """Check a learngene, an export or a folder again: its bytes, that it runs, that it computes what it should.

    learngene  what an export was made from (a learngene or a folder), where it is not found beside it
    targets    other runtimes to try an ONNX file in: 'openvino', 'coreml', 'nnapi', 'web', 'opencv', 'mnn', 'tract', 'tvm',
               'ncnn', 'litert', 'tensorrt'

    What is wrong is in the result: `passed`, `checks` with a name, an outcome and what was found, and the same by `targets`.
    Raises InputError when there is nothing at the path, `learngene` is not what the export names, or a target is not known
    or its runtime not installed.
    """
    from tleg.export.verify import check_path

    return check_path(
        path_of(path_or_name, "learngene", "folder", "export", field="path"),
        None if learngene is None else path_of(learngene, "learngene", "folder"),
        targets,
    )
