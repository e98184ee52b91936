"""`tleg inspect` and `tleg import`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tleg.cli.app import app
from tleg.cli.options import takes_options
from tleg.learngene.basis import MAX_DEPTH
from tleg.learngene.header import MAX_WIDTH
from tleg.learngene.profile import format_depth
from tleg.recipes.fields import option
from tleg.terminal import say, write, write_json
from tleg.text import format_bytes, format_count, format_image_size, printable

if TYPE_CHECKING:
    from tleg.learngene.container import LearngeneFile
    from tleg.learngene.header import Preprocessing


_INDENT = 16


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A learngene file, the name of a shipped one, or a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all that a learngene file says of itself: what it expands to, how it was learned, what it reached."""
    from tleg.api import path_of
    from tleg.errors import concerning
    from tleg.learngene.container import read_file

    with concerning("file"):
        content = read_file(path_of(file, "learngene", field="file"))
    if as_json:
        write_json(_document(content))
        return
    for title, lines in _sections(content):
        for index, line in enumerate(lines):
            write(printable(f"{title if index == 0 else '':<{_INDENT}}{line}".rstrip()))


def _document(file: "LearngeneFile") -> dict[str, Any]:
    from tleg.learngene.container import header_values

    return {
        "path": str(file.path),
        "bytes": file.size,
        "format_version": file.header.version,
        "parameters": file.parameters,
        **header_values(file.header),
        "formula": file.header.basis.formula,
        "tensors": {name: list(entry.shape) for name, entry in file.tensors.items()},
    }


def _sections(file: "LearngeneFile") -> Iterator[tuple[str, list[str]]]:
    """Titles and lines, top to bottom: what matters most comes first."""
    header = file.header
    architecture, auxiliary = header.architecture, header.auxiliary
    yield "File", [str(file.path), f"{format_bytes(file.size)}, {format_count(file.parameters)} parameters"]
    yield "SHA-256", [header.sha256[:32], header.sha256[32:]]
    channels, height, width = architecture.input_size
    arguments = [f"{name}={value!r}" for name, value in architecture.arguments.items()]
    yield (
        "Architecture",
        [architecture.name, *_filled(arguments), f"images of {height} x {width}, {channels} channel{'s' * (channels != 1)}"],
    )
    yield "", _structure(file)
    yield "Basis", [*_wrapped(_basis_title(file)), *_wrapped(header.basis.formula)]
    sampled = ", ".join(map(str, auxiliary.sampled_depths))
    drawn = ", ".join(format_image_size(each.image_size) for each in auxiliary.sampled_sizes or ())
    yield (
        "Auxiliary",
        [
            f"depth {auxiliary.depth}" + (f"; depths drawn in training: {sampled}" if sampled else ""),
            *(["all stages scaled with the depth"] if auxiliary.scaled else []),
            *([f"trained on images of {drawn} pixels"] if drawn else []),
        ],
    )
    yield "Classes", [str(architecture.num_classes), *_filled(header.classes)]
    preprocessing = header.preprocessing
    yield (
        "Preprocessing",
        [
            f"mean {_numbers(preprocessing.mean)}, std {_numbers(preprocessing.std)}",
            f"{preprocessing.interpolation}, crop {preprocessing.crop_pct:g} ({preprocessing.crop_mode})",
            *_reading(preprocessing),
        ],
    )
    yield "Learned", list(_tree(header.learned)) or ["not recorded"]
    figures = []
    for each in header.measured:
        texts = [f"{format_depth(depth)}: {value:.2f}%" for depth, value in each.by_depth.items()]
        figures += [f"on {each}", *_filled(texts)]
    yield "Reached", ["top-1 by depth, without fine-tuning", *figures] if figures else ["not measured"]
    yield "Cost", _costs(file)
    name_width = max(map(len, file.tensors), default=0)
    yield (
        "Tensors",
        [f"{name:<{name_width}}  {' x '.join(map(str, entry.shape))}" for name, entry in file.tensors.items()],
    )


def _structure(file: "LearngeneFile") -> list[str]:
    structure = file.header.architecture.structure
    if structure is None:
        stages = file.header.architecture.stages_text
        return ["not a plain ViT: timm builds it", *([f"stages of {stages} blocks, N the depth"] if stages else [])]
    patch = f"{structure.patch_size[0]} x {structure.patch_size[1]}"
    extras = [
        f"{'a' if structure.class_token else 'no'} class token",
        *([f"{structure.registers} registers"] if structure.registers else []),
        *(["layer scale"] if structure.layer_scale else []),
        *(["a norm before the blocks"] if structure.pre_norm else []),
        f"{'average' if structure.pool == 'avg' else 'class token'} pooling",
    ]
    return [
        f"patches of {patch}, width {structure.width}, {structure.heads} heads, MLP {structure.hidden}",
        *_filled([*extras, f"LayerNorm eps {structure.eps:g}"]),
    ]


def _basis_title(file: "LearngeneFile") -> str:
    from tleg.learngene.basis import PARTS

    basis = file.header.basis
    shared = [part for part in PARTS if part not in basis.expanded]
    title = f"{basis.name}, {basis.terms} terms, expands {', '.join(basis.expanded)}"
    return f"{title}; all layers share {', '.join(shared)}" if shared else title


def _costs(file: "LearngeneFile") -> list[str]:
    cost = file.header.cost
    layer = (cost.parameters.at(2) - cost.parameters.at(1), cost.macs.at(2) - cost.macs.at(1))
    rest = (cost.parameters.at(1) - layer[0], cost.macs.at(1) - layer[1])
    return [
        f"a layer: {layer[0]:,} parameters, {layer[1]:,} MACs for an image",
        f"the rest: {rest[0]:,} parameters, {rest[1]:,} MACs",
    ]


def _reading(preprocessing: "Preprocessing") -> Iterator[str]:
    """How images are read, as far as it is more than decoding them."""
    yield "turned upright by EXIF orientation" if preprocessing.exif else "EXIF orientation is not applied"
    if preprocessing.pixel_range is not None:
        low, high = preprocessing.pixel_range
        yield f"of more than 8 bits: {low:g} is black and {high:g} white"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _filled(words: "list[str] | tuple[str, ...]", width: int = 78 - _INDENT) -> list[str]:
    """Words with commas between them, in lines that fit a terminal of 80 columns."""
    lines: list[str] = []
    for index, word in enumerate(words):
        text = word if index == len(words) - 1 else f"{word},"
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
    return lines


def _wrapped(text: str) -> list[str]:
    from textwrap import wrap

    return wrap(text, 78 - _INDENT)


def _tree(value: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """A nested mapping as indented lines."""
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield f"{'  ' * depth}{name}:"
            yield from _tree(item, depth + 1)
        else:
            text = ", ".join(map(str, item)) if isinstance(item, list | tuple) else str(item)
            yield f"{'  ' * depth}{name}: {text}"


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
    force: bool = option(False, help="Replace the output if it exists.")


@app.command("import")
@takes_options
def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A .pth of the official auxiliary model.")],
    options: ImportOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a checkpoint of the paper's own code into a learngene file.

    Nothing in the checkpoint is run. Sizes are read from its tensors, options from what it recorded.
    """
    from tleg.errors import concerning
    from tleg.files import check_file

    output = Path(options.output)
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
