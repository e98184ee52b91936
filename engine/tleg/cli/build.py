"""`tleg build` and `tleg verify`."""

import json
import sys
from dataclasses import dataclass
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tleg.cli.app import app
from tleg.cli.options import takes_options
from tleg.cli.precision import Teller, cost_table
from tleg.errors import VerificationError, concerning
from tleg.export.formats import FORMATS, PRECISIONS, TEMPERATURE_PLACES, either
from tleg.export.interface import (
    AXES,
    DYNAMIC,
    IMAGES,
    LEAST_OPSET,
    MOST_OPSET,
    OPSET,
    OPSET_RULE,
    PIXELS,
    RESIZES,
    parse_batch,
)
from tleg.learngene.architecture import MAX_CLASSES
from tleg.learngene.families import families
from tleg.learngene.profile import Depth, format_depth, parse_depth, plain_depth
from tleg.models.output import OUTPUT_FORMS
from tleg.recipes.fields import option
from tleg.recipes.precision import PrecisionOptions
from tleg.references import DEFAULT_LEARNGENE
from tleg.serialize import to_plain
from tleg.terminal import is_interactive, write, write_json
from tleg.text import format_bytes, printable, read_image_size

if TYPE_CHECKING:
    from tleg.export.build import BuildStep, BuiltExport


DEFAULT: Final = "pytorch"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What is built."""

    depth: tuple[str, ...] = option(
        (), help="Depth of a descendant, or the blocks of every stage; may be given several times.", metavar="DEPTH"
    )
    export: tuple[str, ...] = option(
        (),
        help=f"{either(FORMATS)}; may be given several times. Without it: {DEFAULT}.",
        metavar="KIND",
    )
    output: str = option("exports", help="Folder for the exports.", metavar="FOLDER")
    dtype: str = option("float32", help=f"{either(PRECISIONS)}.")
    layout: str | None = option(
        None, help="auxiliary (normalise, then pool) or official (pool, then normalise). Without it: auxiliary."
    )
    output_of: str | None = option(
        None,
        help=f"{either(OUTPUT_FORMS)}. Without it: classes, and pooled of a model without any.",
        metavar="OUTPUT",
    )
    temperature: str = option(
        TEMPERATURE_PLACES[0],
        help="A temperature that the model keeps: beside logits, or inside the graph.",
        choices=TEMPERATURE_PLACES,
    )
    image_size: str | None = option(
        None, help="Pixels of the inputs. Default: the learngene's, or the folder's.", metavar="N|HxW"
    )
    num_classes: int | None = option(
        None,
        help="Another number of classes than the learngene's: a new head.",
        metavar="N",
        least=1,
        most=MAX_CLASSES,
        rule=f"a model has 1 to {MAX_CLASSES:,} classes",
    )
    batch: str = option(DYNAMIC, help="Of ONNX, OpenVINO: images of a batch, or dynamic.", metavar="N|dynamic")
    opset: int | None = option(
        None,
        help=f"Of ONNX files, from {LEAST_OPSET} on. Without it: {OPSET}.",
        metavar="N",
        least=LEAST_OPSET,
        most=MOST_OPSET,
        rule=OPSET_RULE,
    )
    input_type: str = option(
        PIXELS[0], help="Of ONNX, OpenVINO: float (normalised) or uint8 (pixels).", name="input", choices=PIXELS
    )
    input_layout: str = option(AXES[0], help="Of ONNX, OpenVINO: nchw or nhwc.", choices=AXES)
    resize: str = option(RESIZES[0], help="Of ONNX with --input uint8: resize inside, or outside.", choices=RESIZES)
    softmax: bool = option(False, help="Of ONNX, OpenVINO: probabilities instead of logits.")
    top: int | None = option(
        None, help="Of ONNX, OpenVINO: the best N classes alone.", metavar="N", least=1, most=MAX_CLASSES
    )
    input_name: str = option(IMAGES, help="Of ONNX, OpenVINO: what the input is called.", metavar="NAME")
    output_name: tuple[str, ...] = option(
        (), help="Of ONNX, OpenVINO: what an output is called. May be repeated.", metavar="NAME"
    )


@app.command(
    help=f"""Build descendants of a learngene and export them, each verified and with a manifest.

    {" ".join(f"{each.name}: {each.about}." for each in FORMATS.values())}

    A run gives what it made; one that is not finished, what is in its last checkpoint.

    Of {either(each.name for each in families() if each.timm_fixes_depths)} timm's functions fix the depths:
    a pytorch folder of these is opened by tleg, and not by timm alone.

    A folder, such as a fine-tuned descendant, is exported with its weights as they are: --export onnx, without --depth,
    --layout or --num-classes.

    --output-of makes backbones: pooled is the vector before the classifier, tokens those after the last block, and
    blocks:3,6,9 maps after these blocks, counted from 1, without the final norm; models with stages have stages:1,2,3,4.

    With --temperature inside, an ONNX file divides its logits by the temperature that tleg evaluate --calibrate
    --save-temperature kept with the model; else its metadata has it.

    --batch, --opset, --input, --input-layout, --softmax, --top and the names of inputs and outputs make the graph of ONNX
    and OpenVINO that a runtime wants: a batch of one size, pixels that the graph normalises, probabilities, the best
    classes alone. With --input uint8 --resize inside an ONNX file takes pictures of any size, as they were opened.

    With --image-size, position embeddings and tables of relative positions are resampled as timm does it; --dtype, --layout
    and the size stand in the names of files where they are not the default.

    Numbers: int8 rounds weights and activations of --export onnx and openvino, with ranges from --calibration DATA;
    int8-dynamic needs no data; int8-terms keeps the terms of onnx-compact and onnx-elastic in a quarter of the bytes,
    int4-terms in a seventh. A table says what it costs and saves beside float32, and with labelled images an export that
    loses more than --max-drop points is refused.
    """
)
@takes_options
def build(
    learngene: Annotated[
        str,
        typer.Argument(
            help="A learngene file, the name of a shipped one, a folder that timm loads, or a run, finished or not."
        ),
    ] = DEFAULT_LEARNGENE,
    *,
    options: BuildOptions,
    precision: PrecisionOptions,
    force: Annotated[bool, typer.Option("--force", help="Replace existing exports.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not run the exports to check them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl", help="Print a JSON object a line as it happens: each stage, and each export once it is done."
        ),
    ] = False,
) -> None:
    """Build descendants of a learngene and export them."""
    from tleg import api

    with concerning("depth"):
        depths = tuple(map(parse_depth, options.depth))
    with Teller() as teller:
        results = api.build(
            learngene,
            depths,
            options.export or (DEFAULT,),
            options.output,
            dtype=options.dtype,
            layout=options.layout,
            num_classes=options.num_classes,
            image_size=read_image_size(options.image_size),
            overwrite=force,
            verify=not no_verify,
            output_of=options.output_of,
            temperature=options.temperature,
            batch=parse_batch(options.batch),
            opset=options.opset,
            input_type=options.input_type,
            input_layout=options.input_layout,
            resize=options.resize,
            softmax=options.softmax,
            top=options.top,
            input_name=options.input_name,
            output_names=options.output_name,
            calibration=precision.calibration,
            calibration_images=precision.calibration_images,
            data=precision.gate.data,
            limit=precision.gate.limit,
            max_drop=precision.gate.max_drop,
            progress=_tell_jsonl if as_jsonl else teller if is_interactive(sys.stderr) else None,
        )
    if as_jsonl:
        return
    if as_json:
        manifest = results[0].manifest
        document: dict[str, Any] = {"learngene": None if manifest.learngene is None else manifest.learngene.name}
        if manifest.folder is not None:
            document["folder"] = manifest.folder.name
        write_json({**document, "exports": [_document(item) for item in results]})
        return
    for item in results:
        write(f"{item.path}\n  {_figures(item)}")
        if item.manifest.note is not None:
            write(f"  {item.manifest.note}")
        for each in item.manifest.outputs or ():
            write(f"  {each.name}: {' x '.join(map(str, each.shape))}, {each.meaning}")
        if item.manifest.usage is not None:
            write(f"  {item.manifest.usage}")
    costs = [(item, item.manifest.beside_float32) for item in results]
    for line in cost_table([(item.path.name, cost) for item, cost in costs if cost is not None]):
        write(line)
    examples = [item.manifest.example for item in results if item.manifest.example is not None]
    if examples:
        write(f"In Python, without tleg; as in the manifest:\n{indent(examples[0], '    ')}")


def _tell_jsonl(step: "BuildStep") -> None:
    export = step.export
    _write_line(
        {
            "stage": step.stage,
            "kind": None if export is None else export.format.name,
            "depth": None if export is None else plain_depth(export.depth),
            "path": None if export is None else str(export.target),
            "index": step.index,
            "count": step.count,
            **({} if step.images is None else {"images": list(step.images)}),
            **({} if step.built is None else {"built": _document(step.built)}),
        }
    )


def _write_line(document: dict[str, Any]) -> None:
    write(json.dumps(to_plain(document), allow_nan=False))
    sys.stdout.flush()


def _figures(item: "BuiltExport") -> str:
    """The figures of an export in one line."""
    depth, record = _depth_of(item), item.manifest.file
    every = ["every depth"] if FORMATS[record.kind].every_depth else []
    parts = every if depth is None else [f"depth {format_depth(depth)}"]
    parts.append(format_bytes(record.bytes))
    verification = item.manifest.verification
    parts.append("not verified" if verification is None else str(verification))
    return ", ".join(parts)


def _depth_of(item: "BuiltExport") -> Depth | None:
    manifest = item.manifest
    return manifest.model.depth if manifest.descendant is None else manifest.descendant.expands_to


def _document(item: "BuiltExport") -> dict[str, Any]:
    from tleg.serialize import encode

    manifest = item.manifest
    return {
        "kind": manifest.file.kind,
        "depth": plain_depth(_depth_of(item)),
        "path": str(item.path),
        "manifest": str(item.manifest_path),
        "bytes": manifest.file.bytes,
        "sha256": manifest.file.sha256,
        **({"descendant": encode(manifest.descendant)} if manifest.folder is None else {"folder": encode(manifest.folder)}),
        "verification": None if manifest.verification is None else encode_verification(manifest.verification),
        **({} if manifest.note is None else {"note": manifest.note}),
        **({} if manifest.outputs is None else {"outputs": encode(manifest.outputs)}),
        **({} if manifest.cost is None else {"cost": encode(manifest.cost)}),
        **({} if manifest.usage is None else {"usage": manifest.usage}),
        **({} if manifest.example is None else {"example": manifest.example}),
        **({} if manifest.beside_float32 is None else {"beside_float32": encode(manifest.beside_float32)}),
        "writing_seconds": round(item.writing_seconds, 3),
        "verifying_seconds": round(item.verifying_seconds, 3),
    }


def encode_verification(verification: Any) -> dict[str, Any]:
    """A verification as JSON, with the worst figures first."""
    from tleg.serialize import encode

    return {
        "max_abs_error": verification.max_abs_error,
        "relative_error": verification.relative_error,
        **({} if verification.argmax_agreement is None else {"argmax_agreement": verification.argmax_agreement}),
        **encode(verification),
    }


@app.command()
def verify(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A learngene, an export, a folder that timm loads, or a run.")],
    learngene: Annotated[
        str | None, typer.Option(help="The learngene or folder that an export was made from, where it is not found.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Of ONNX files: other runtimes as well, such as openvino,coreml. May be repeated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a learngene or an export again: its bytes, that it runs, and that it computes what its learngene says.

    The learngene of an export, or the folder that it was made from, is looked for beside it, in the folder above, in the
    working folder and among the shipped ones. What cannot be checked is said, and is no failure.

    --target runs an ONNX file in another runtime (openvino), asks ONNX Runtime's checker (coreml, nnapi), or says what is
    known of such files (web, opencv, mnn, tract, tvm, ncnn, litert, tensorrt). A runtime that refuses it is a failure.
    """
    from tleg import api
    from tleg.serialize import encode

    targets = [name.strip() for text in target or () for name in text.split(",") if name.strip()]
    report = api.verify(path, learngene, targets)
    if as_json:
        document = {
            "path": str(report.path),
            "kind": report.kind,
            "passed": report.passed,
            "checks": [{"name": check.name, "outcome": check.outcome, "detail": check.detail} for check in report.checks],
            "verification": None if report.verification is None else encode_verification(report.verification),
            **({"targets": encode(report.targets)} if targets else {}),
        }
        write_json(document)
    else:
        for check in report.checks:
            write(printable(f"{check.outcome:<12} {check.name:<10} {check.detail}"))
        for each in report.targets:
            write(printable(f"{each.outcome:<12} {each.target:<10} {each.detail}"))
    if not report.passed:
        failed = [check.name for check in report.checks if check.outcome == "failed"]
        failed += [each.target for each in report.targets if each.outcome == "refused"]
        raise VerificationError(f"{report.path} failed: {', '.join(failed)}")
