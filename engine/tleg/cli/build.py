"""`tleg build` and `tleg verify`."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tleg.cli.app import app
from tleg.cli.options import takes_options
from tleg.cli.precision import Teller, cost_table
from tleg.errors import VerificationError, concerning
from tleg.export.formats import FORMATS, PRECISIONS, either
from tleg.learngene.families import families
from tleg.learngene.header import MAX_CLASSES
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

    With --image-size, position embeddings and tables of relative positions are resampled as timm does it; --dtype, --layout
    and the size stand in the names of files where they are not the default.

    Numbers: int8 rounds weights and activations of --export onnx, with ranges from --calibration DATA; int8-dynamic needs
    no data; int8-terms keeps the terms of onnx-compact and onnx-elastic in a quarter of the bytes. A table says what it
    costs and saves beside float32, and with labelled images an export that loses more than --max-drop points is refused.
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
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A learngene, an ONNX export, a folder that timm loads, or a run.")
    ],
    learngene: Annotated[
        str | None, typer.Option(help="The learngene or folder that an export was made from, where it is not found.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a learngene or an export again: its bytes, that it runs, and that it computes what its learngene says.

    The learngene of an export, or the folder that it was made from, is looked for beside it, in the folder above, in the
    working folder and among the shipped ones. What cannot be checked is said, and is no failure.
    """
    from tleg import api

    report = api.verify(path, learngene)
    if as_json:
        document = {
            "path": str(report.path),
            "kind": report.kind,
            "passed": report.passed,
            "checks": [{"name": check.name, "outcome": check.outcome, "detail": check.detail} for check in report.checks],
            "verification": None if report.verification is None else encode_verification(report.verification),
        }
        write_json(document)
    else:
        for check in report.checks:
            write(printable(f"{check.outcome:<12} {check.name:<10} {check.detail}"))
    if not report.passed:
        failed = [check.name for check in report.checks if check.outcome == "failed"]
        raise VerificationError(f"{report.path} failed: {', '.join(failed)}")
