"""`tleg import`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tleg.basis import MAX_DEPTH
from tleg.cli.main import app
from tleg.cli.options import takes_options
from tleg.cli.output import format_bytes, format_count, say, write, write_json
from tleg.header import MAX_WIDTH
from tleg.recipes.fields import option


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Where the learngene goes, and what an official checkpoint may leave open."""

    output: str = option(help="The learngene file to write (.safetensors).", metavar="FILE")
    heads: int | None = option(
        None, help="Attention heads, where they are not recorded.", metavar="N", least=1, most=MAX_WIDTH
    )
    architecture: str | None = option(
        None, help="timm's name of the ViT. Default: DeiT's of the same width.", metavar="TIMM_NAME"
    )
    auxiliary_depth: int | None = option(
        None, help="Layers of the auxiliary model, where they are not recorded.", metavar="N", least=1, most=MAX_DEPTH
    )


@app.command("import")
@takes_options
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A .pth of the official auxiliary model.")],
    options: ImportOptions,
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a checkpoint of the paper's own code into a learngene file.

    Nothing in the checkpoint is run. Sizes are read from its tensors, options from what it recorded.
    """
    from tleg.atomic import check_file

    output = Path(options.output)
    check_file(output, overwrite=force)
    from tleg.official import import_official

    learngene = import_official(
        checkpoint,
        heads=options.heads,
        architecture=options.architecture,
        auxiliary_depth=options.auxiliary_depth,
    )
    learngene.save(output, overwrite=force)
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
