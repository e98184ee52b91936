"""`tleg inspect`: all that a learngene file says of itself."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tleg.cli.app import app
from tleg.learngene.calibration import CALIBRATION, calibration_in
from tleg.learngene.cascade import CASCADES, depths_text, policies_in
from tleg.learngene.feature_cosine import FEATURE_COSINE, feature_cosine_in
from tleg.learngene.profile import format_depth
from tleg.terminal import write, write_json
from tleg.text import format_bytes, format_count, format_image_size, printable

if TYPE_CHECKING:
    from tleg.learngene.container import LearngeneFile
    from tleg.learngene.header import LearngeneHeader, Preprocessing


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
    stored = "" if header.compression is None else f", large matrices in {header.compression.dtype}"
    yield "File", [str(file.path), f"{format_bytes(file.size)}, {format_count(file.parameters)} parameters{stored}"]
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
    learned = {name: item for name, item in header.learned.items() if name not in (CALIBRATION, CASCADES, FEATURE_COSINE)}
    yield "Learned", list(_tree(learned)) or ["not recorded"]
    if probabilities := list(_probabilities(header)):
        yield "Probabilities", probabilities
    figures = []
    for each in header.measured:
        texts = [f"{format_depth(depth)}: {value:.2f}%" for depth, value in each.by_depth.items()]
        figures += [f"on {each}", *_filled(texts)]
    lines = ["top-1 by depth, without fine-tuning", *figures] if figures else []
    if (features := feature_cosine_in(header.learned)) is not None:
        cosines = [f"{depth}: {value:.3f}" for depth, value in features.by_depth.items()]
        lines += ["cosine by depth, without fine-tuning", *_wrapped(str(features)), *_filled(cosines)]
    yield "Reached", lines or ["not measured"]
    yield "Cost", _costs(file)
    name_width = max(map(len, file.tensors), default=0)
    yield (
        "Tensors",
        [f"{name:<{name_width}}  {' x '.join(map(str, entry.shape))}" for name, entry in file.tensors.items()],
    )


def _probabilities(header: "LearngeneHeader") -> Iterator[str]:
    """What was found out of the model's probabilities, and is kept."""
    calibration = calibration_in(header.learned)
    if calibration is not None:
        yield from _wrapped(f"temperature {calibration.temperature:g}, {calibration}")
        yield from _filled([f"{depth}: {value:g}" for depth, value in (calibration.by_depth or {}).items()])
    for policy in policies_in(header.learned):
        yield from _wrapped(f"cascade {depths_text(policy.depths)}: a depth answers {policy}")


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
    title = f"{basis.title}, expands {', '.join(basis.expanded)}"
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
