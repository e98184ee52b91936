"""What a learngene's file says of itself, in words."""

from collections.abc import Collection, Iterable, Mapping
from textwrap import wrap
from typing import Final

from textual.content import Content

from tleg.learngene.header import LearngeneHeader
from tleg.text import printable

_LABEL: Final = 13  # Cells for what a fact is called.


def facts(header: LearngeneHeader, width: int) -> Content:
    """Return what a learngene's file says of itself, on lines of at most `width` cells."""
    room = max(width - _LABEL, 8)
    lines = [Content.styled("Learngene", "bold $primary")]
    for name, value in _facts(header):
        for place, part in enumerate(wrap(printable(value), room) or [""]):
            label = name if place == 0 else ""
            lines.append(Content.assemble((f"{label:<{_LABEL}}", "$foreground-muted"), part))
    return Content("\n").join(lines)


def describe_lineage(header: LearngeneHeader) -> str:
    """'resnet10t → auxiliary of 12 layers, 24 epochs of fashion-mnist → this learngene', as far as the file says."""
    return _lineage(header, f"auxiliary of {header.auxiliary.depth} layers", " → this learngene")


def brief_lineage(header: LearngeneHeader) -> str:
    """'resnet10t → auxiliary, 24 epochs of fashion-mnist': what a narrow line has room for."""
    return _lineage(header, "auxiliary", "")


def _lineage(header: LearngeneHeader, auxiliary: str, end: str) -> str:
    learned = header.learned
    ancestry, recipe, data = learned.get("ancestry"), learned.get("recipe"), learned.get("data")
    name = ancestry.get("name") if isinstance(ancestry, Mapping) else None
    epochs = recipe.get("epochs") if isinstance(recipe, Mapping) else None
    parts = [
        f"{name} → " if isinstance(name, str) else "",
        auxiliary,
        f", {epochs} epochs" if isinstance(epochs, int) else "",
        f" of {data}" if isinstance(data, str) else "",
        end,
    ]
    return printable("".join(parts))


def _facts(header: LearngeneHeader) -> list[tuple[str, str]]:
    """What the file says of itself: pairs of a label and a text."""
    structure, learned = header.architecture.structure, header.learned
    channels, height, width = header.architecture.input_size
    known = [("architecture", header.architecture.name)]
    if structure is not None:
        known.append(("", f"width {structure.width}, {structure.heads} heads, {structure.tokens} tokens"))
    known += [
        ("input", f"{height} x {width} pixels, {channels} channel{'s' if channels > 1 else ''}"),
        ("classes", _classes(header)),
        ("lineage", describe_lineage(header)),
    ]
    if header.auxiliary.sampled_depths:
        known.append(("trained at", f"depths {format_ranges(header.auxiliary.sampled_depths)}, one a step"))
    distillation = learned.get("distillation")
    if isinstance(distillation, Mapping):
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in distillation.items())
        known.append(("distillation", told))
    if header.reached is not None:
        known.append(("accuracy on", str(header.reached)))
    known += [("measured on", f"{each}: {_range(each.top1.values())}") for each in header.further if each.top1]
    known.append(("SHA-256", header.sha256[:16]))
    return known


def _range(values: Collection[float]) -> str:
    """'61.3 to 88.6 %'."""
    least, most = min(values), max(values)
    return f"{most:.1f} %" if least == most else f"{least:.1f} to {most:.1f} %"


def _classes(header: LearngeneHeader) -> str:
    count = header.architecture.num_classes
    return f"{count}: {', '.join(header.classes[:12])}{', …' if count > 12 else ''}" if header.classes else str(count)


def format_ranges(depths: Iterable[int]) -> str:
    """Write depths as people do: (3, 4, 5, 8) is '3–5, 8'."""
    spans: list[list[int]] = []
    for depth in sorted(set(depths)):
        if spans and spans[-1][1] == depth - 1:
            spans[-1][1] = depth
        else:
            spans.append([depth, depth])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)
