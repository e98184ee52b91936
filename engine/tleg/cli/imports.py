"""`tleg import`: what others wrote becomes a learngene file, or a folder that timm loads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tleg.cli.app import app
from tleg.cli.options import takes_options
from tleg.errors import InputError
from tleg.learngene.architecture import MAX_WIDTH
from tleg.learngene.basis import MAX_DEPTH
from tleg.recipes.fields import option
from tleg.terminal import say, write, write_json
from tleg.text import format_bytes, format_count, format_image_size, printable

if TYPE_CHECKING:
    from tleg.export.onnx.imported import OnnxImport
    from tleg.models.efficientnet_lite import EfficientNetImport

Imported = TypeVar("Imported", "OnnxImport", "EfficientNetImport")
_ONNX = ".onnx"
_FILE_HELP = (
    "A .pth of the official auxiliary model, an ONNX file of a plain ViT, or an EfficientNet-Lite of EfficientNet-PyTorch."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Where the result goes, and what a file may leave open."""

    output: str = option(help="The learngene file to write (.safetensors); of others' models, the folder.", metavar="PATH")
    heads: int | None = option(
        None, help="Attention heads, where they are not recorded.", metavar="N", least=1, most=MAX_WIDTH
    )
    architecture: str | None = option(
        None, help="timm's name of the model. Default: one of the same sizes.", metavar="TIMM_NAME"
    )
    auxiliary_depth: int | None = option(
        None, help="Layers of the auxiliary model, where they are not recorded.", metavar="N", least=1, most=MAX_DEPTH
    )
    force: bool = option(False, help="Replace the output if it exists.")


@app.command("import")
@takes_options
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE", help=_FILE_HELP)],
    options: ImportOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a checkpoint of the paper's own code into a learngene file, or somebody's model into a folder for timm.

    Nothing in a checkpoint is run. Sizes are read from its tensors, options from what it recorded. The weights in an ONNX
    file are found by what its graph computes, and the folder's model is compared with what ONNX Runtime computes. Those of
    an EfficientNet-Lite are found by their names.
    """
    from tleg.errors import concerning
    from tleg.files import check_file

    output = Path(options.output)
    if checkpoint.suffix == _ONNX:
        _import_onnx(checkpoint, options, as_json=as_json)
        return
    from tleg.models.efficientnet_lite import holds_efficientnet

    with concerning("checkpoint"):
        other = holds_efficientnet(checkpoint)
    if other:
        _import_efficientnet(checkpoint, options, as_json=as_json)
        return
    with concerning("output"):
        check_file(output, overwrite=options.force)
    from tleg.models.official import import_official

    with concerning("checkpoint"):
        learngene = import_official(
            checkpoint,
            heads=options.heads,
            architecture=options.architecture,
            auxiliary_depth=options.auxiliary_depth,
        )
    with concerning("output"):
        learngene.save(output, overwrite=options.force)
    header = learngene.header
    structure = header.architecture.structure
    if as_json:
        write_json(
            {
                "output": str(output),
                "architecture": header.architecture.name,
                "arguments": dict(header.architecture.arguments),
                "width": structure.width if structure else None,
                "heads": structure.heads if structure else None,
                "input_size": list(header.architecture.input_size),
                "num_classes": header.architecture.num_classes,
                "auxiliary_depth": header.auxiliary.depth,
                "parameters": learngene.parameters,
                "bytes": output.stat().st_size,
            }
        )
        return
    write(str(output))
    sizes = f"width {structure.width}, {structure.heads} heads, " if structure else ""
    say(
        f"{header.architecture.name}: {sizes}{header.architecture.num_classes} classes, auxiliary depth "
        f"{header.auxiliary.depth}, {format_count(learngene.parameters)} parameters, {format_bytes(output.stat().st_size)}"
    )


def _check_options(options: ImportOptions, why: str) -> None:
    """Refuse what only official checkpoints leave open, and a folder that may not be written. Raises InputError."""
    from tleg.errors import concerning
    from tleg.files import check_folder

    for name in ("heads", "auxiliary_depth"):
        if getattr(options, name) is not None:
            option_name = name.replace("_", "-")
            raise InputError(
                f"--{option_name} is for checkpoints of the official code; {why}", field=option_name, code="conflict"
            )
    with concerning("output"):
        check_folder(Path(options.output), overwrite=options.force)


def _import_efficientnet(file: Path, options: ImportOptions, *, as_json: bool) -> None:
    _check_options(options, "an EfficientNet has none")
    from tleg.models.efficientnet_lite import import_efficientnet

    _into_folder(import_efficientnet, _say_efficientnet, file, options, as_json=as_json)


def _import_onnx(file: Path, options: ImportOptions, *, as_json: bool) -> None:
    _check_options(options, "an ONNX file says it")
    from tleg.export.onnx.imported import import_onnx

    _into_folder(import_onnx, _say_onnx, file, options, as_json=as_json)


def _into_folder(
    importing: Callable[..., Imported],
    say_what: Callable[[Imported], None],
    file: Path,
    options: ImportOptions,
    *,
    as_json: bool,
) -> None:
    """Make a folder of somebody's model, and tell what became of it."""
    from tleg.errors import concerning
    from tleg.serialize import encode

    with concerning("checkpoint"):
        found = importing(file, options.output, architecture=options.architecture, overwrite=options.force)
    if as_json:
        write_json(encode(found))
        return
    write(found.output)
    say_what(found)


def _say_efficientnet(found: "EfficientNetImport") -> None:
    say(
        f"{found.architecture}: images of {format_image_size(found.image_size)} pixels, {found.num_classes} classes; all of "
        f"the file's {found.tensors} tensors are in timm's model, by their names"
    )


def _say_onnx(found: "OnnxImport") -> None:
    head = f"{found.num_classes} classes" if found.num_classes else "no head"
    say(
        f"{found.architecture}: {found.depth} blocks, width {found.width}, {found.heads} heads, images of "
        f"{format_image_size(found.image_size)} pixels, {head}, {found.tensors} tensors"
    )
    say(
        printable(
            f"compared with the file's own {' and '.join(found.compared)} on noise: largest difference "
            f"{found.difference:.2g}, where values go up to {found.largest:.3g}"
        )
    )
