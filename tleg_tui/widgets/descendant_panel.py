"""The chosen descendant: its layers on the line, its cost by part, memory, accuracy, lineage."""

from collections.abc import Mapping
from dataclasses import dataclass

from textual.content import Content
from textual.widgets import Static

from tleg.cli.output import format_bytes, format_count, printable
from tleg.header import LearngeneHeader
from tleg.preview import PreviewRow
from tleg_tui.library import Tuned

_PARTS = (("attention", "attention"), ("mlp", "MLP"), ("norm", "norm"), ("stem", "stem"), ("head", "head"))


@dataclass(frozen=True, slots=True)
class Descendant:
    """What the panel shows."""

    header: LearngeneHeader
    row: PreviewRow
    batch: int
    top1: float | None
    tuned: Tuned | None


class DescendantPanel(Static):
    """Drawn anew with every depth."""

    DEFAULT_CSS = "DescendantPanel { height: auto; padding: 0 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._shown: Descendant | None = None

    def show(self, descendant: Descendant | None) -> None:
        """Show another descendant."""
        self._shown = descendant
        self._draw()

    def on_resize(self) -> None:
        """The line of layers is as long as there is room."""
        self._draw()

    def _draw(self) -> None:
        if self._shown is not None and self.size.width > 0:
            self.update(describe(self._shown, self.content_size.width or self.size.width))


def describe(shown: Descendant, width: int) -> Content:
    """Return a descendant in words and lines of at most `width` cells."""
    row, header = shown.row, shown.header
    lines = [
        Content.assemble((f"Depth {row.depth}", "bold $accent"), (f" ─ {_rule(header, row.depth)}", "$text-muted")),
        *_layers(header, row.depth, width),
        Content(""),
        *_parts(header, row, width),
        Content(""),
        _accuracy(shown),
        _memory(shown),
    ]
    if not row.fits:
        names = ", ".join(name.replace("_", " ") for name in row.exceeds)
        lines.append(Content.styled(f"over the budget: {names}", "$warning"))
    lineage = _lineage(header)
    if lineage:
        lines.append(Content.styled(lineage, "$text-muted"))
    return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)


def _rule(header: LearngeneHeader, depth: int) -> str:
    basis = header.basis
    if basis.name == "linear":
        rule = f"every layer is θB + l/{depth} · θA"
    else:
        rule = f"every layer is a sum of {basis.terms} terms, {basis.name} basis"
    shared = [part for part in ("attention", "mlp", "norm") if part not in basis.expanded]
    return rule + (f"; {', '.join(shared)} shared" if shared else "")


def _layers(header: LearngeneHeader, depth: int, width: int) -> list[Content]:
    """The layers as points: on the line from theta_B to theta_B + theta_A for the paper's basis, else one after the other."""
    linear = header.basis.name == "linear"
    left, right = ("θB ├", "┤ θB+θA") if linear else ("1 ├", f"┤ {depth}")
    room = max(width - len(left) - len(right), depth if depth < width else 8)
    room = min(room, 72)
    line = ["─"] * room
    numbers = [" "] * (room + 4)
    last_end = -1
    for layer in range(depth):
        place = round(layer / (depth if linear else max(depth - 1, 1)) * (room - 1))
        line[place] = "●"
        text = str(layer + 1)
        if place > last_end and place + len(text) <= len(numbers):
            numbers[place : place + len(text)] = text
            last_end = place + len(text)
    return [
        Content.assemble((left, "$text-muted"), ("".join(line), "$primary"), (right, "$text-muted")),
        Content.styled(" " * len(left) + "".join(numbers).rstrip(), "$text-muted"),
    ]


def _parts(header: LearngeneHeader, row: PreviewRow, width: int) -> list[Content]:
    macs, parameters = header.cost.macs.split(row.depth), header.cost.parameters.split(row.depth)
    all_macs, all_parameters = sum(macs.values()) or 1, sum(parameters.values()) or 1
    bar = max(8, min(24, width - 46))
    lines = [Content.styled(f"{'':<10}{'MACs':>6}{'':<{bar + 3}}{'params':>6}", "$text-muted")]
    for key, label in _PARTS:
        share, weight = macs[key] / all_macs, parameters[key] / all_parameters
        filled = round(share * bar)
        lines.append(
            Content.assemble(
                f"{label:<10}",
                f"{100 * share:>4.0f} % ",
                ("█" * filled, "$primary"),
                (f"{'░' * (bar - filled)} ", "$text-disabled"),
                f"{100 * weight:>5.0f} %  ",
                (format_count(parameters[key]), "$text-muted"),
            )
        )
    return lines


def _accuracy(shown: Descendant) -> Content:
    known = "not measured" if shown.top1 is None else f"{shown.top1:.2f} %"
    parts: list[str | tuple[str, str]] = [("zero-shot ", "$text-muted"), known]
    if shown.tuned is not None:
        epochs = (
            "" if shown.tuned.epoch is None else f" after {shown.tuned.epoch} epoch{'s' if shown.tuned.epoch != 1 else ''}"
        )
        parts += [("   fine-tuned", "$text-muted"), f" {shown.tuned.top1:.2f} %{epochs}"]
    return Content.assemble(*parts)


def _memory(shown: Descendant) -> Content:
    cost = shown.row.cost
    return Content.assemble(
        (f"batch {shown.batch}: inference ", "$text-muted"),
        format_bytes(cost.inference_memory),
        (", fine-tuning ", "$text-muted"),
        format_bytes(cost.training_memory),
    )


def _lineage(header: LearngeneHeader) -> str:
    """'from resnet10t, 24 epochs on fashion-mnist', as far as the file says."""
    learned = header.learned
    ancestry, recipe, data = learned.get("ancestry"), learned.get("recipe"), learned.get("data")
    name = ancestry.get("name") if isinstance(ancestry, Mapping) else None
    epochs = recipe.get("epochs") if isinstance(recipe, Mapping) else None
    parts = [
        f"{name} → " if isinstance(name, str) else "",
        f"auxiliary of {header.auxiliary.depth} layers",
        f", {epochs} epochs" if isinstance(epochs, int) else "",
        f" of {data}" if isinstance(data, str) else "",
        " → this learngene",
    ]
    return printable("".join(parts))
