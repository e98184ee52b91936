"""The chosen descendant: layers on the line, cost by part, memory, accuracy; and what the learngene's file says."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from tleg.learngene.feature_cosine import feature_cosine_in
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.preview import PreviewRow
from tleg.learngene.profile import DRAWN, Depth, format_depths
from tleg.text import format_bytes, format_count, printable
from tleg_tui.common.cells import bar_text, hanging
from tleg_tui.workbench.frontier import FrontierPanel
from tleg_tui.workbench.model import Descendant, limits_exceeded

_LABEL: Final = 13  # Cells for what a fact is called.


def facts(header: LearngeneHeader, width: int) -> Content:
    """Return what a learngene's file says of itself, on lines of at most `width` cells."""
    lines = [Content.styled("Learngene", "bold $primary")]
    for name, value in _facts(header):
        lines += hanging(f"{name:<{_LABEL}}", value, width, style="$foreground-muted")
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
        *([("stages", f"{stages} blocks, N the depth")] if (stages := header.architecture.stages_text) else []),
        ("input", f"{height} x {width} pixels, {channels} channel{'s' if channels > 1 else ''}"),
        ("classes", _classes(header)),
        ("lineage", describe_lineage(header)),
    ]
    if header.auxiliary.sampled_depths:
        drawn = DRAWN.get(str(learned.get("sampling")), DRAWN["single"])
        known.append(("trained at", f"depths {format_depths(header.auxiliary.sampled_depths)}, {drawn}"))
    distillation = learned.get("distillation")
    if isinstance(distillation, Mapping):
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in distillation.items())
        known.append(("distillation", told))
    if header.reached is not None:
        known.append(("accuracy on", str(header.reached)))
    known += [("measured on", f"{each}: {_range(each.top1.values())}") for each in header.further if each.top1]
    if (features := feature_cosine_in(learned)) is not None:
        known.append(("cosine", str(features)))
    known.append(("SHA-256", header.sha256[:16]))
    return known


def _range(values: Collection[float]) -> str:
    """'61.3 to 88.6 %'."""
    least, most = min(values), max(values)
    return f"{most:.1f} %" if least == most else f"{least:.1f} to {most:.1f} %"


def _classes(header: LearngeneHeader) -> str:
    count = header.architecture.num_classes
    return f"{count}: {', '.join(header.classes[:12])}{', …' if count > 12 else ''}" if header.classes else str(count)


_PARTS: Final = (("attention", "attention"), ("mlp", "MLP"), ("norm", "norm"), ("stem", "stem"), ("head", "head"))


class _Drawn(Static):
    """A text that is written anew when it gets another width: the line of layers fills it, and texts wrap."""

    def __init__(self, draw: Callable[[], None], *, id: str) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._draw_text = draw

    def on_resize(self) -> None:
        """Write it anew; and again once the size is settled, because a change of height in the middle of it is lost."""
        self._draw_text()
        self.call_after_refresh(self._draw_text)


class DescendantPanel(Horizontal):
    """Drawn anew with every depth. Seven lines where the terminal is short; else the figures, and what the file says."""

    DEFAULT_CSS = """
    DescendantPanel { height: auto; padding: 0 1; }
    DescendantPanel #figures { width: 1fr; height: auto; }
    DescendantPanel #facts { width: 1fr; height: auto; display: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._shown: Descendant | None = None
        self._lines = -1

    def compose(self) -> ComposeResult:
        """Two texts: of the depth, and of the learngene, which may make room for the frontier."""
        yield _Drawn(self._redraw, id="figures")
        yield _Drawn(self._draw_facts, id="facts")
        yield FrontierPanel(id="frontier-beside")

    def show(self, descendant: Descendant) -> None:
        """Show another descendant."""
        other = self._shown is None or self._shown.header is not descendant.header
        self._shown = descendant
        self._draw()
        if other:
            self._draw_facts()

    def refuse(self, why: str) -> None:
        """Say why there is nothing to show."""
        self._shown, self._lines = None, -1
        self.query_one("#figures", Static).update(Content.assemble(("This cannot be used. ", "$error"), why))
        self.query_one("#facts", Static).update("")

    def _draw_facts(self) -> None:
        panel = self.query_one("#facts", Static)
        if self._shown is not None and panel.content_size.width > 0:
            panel.update(facts(self._shown.header, panel.content_size.width))

    def _redraw(self) -> None:
        self._lines = -1  # What was written for another width may have wrapped, and left a scrollbar: lay it out anew.
        self._draw()

    def _draw(self) -> None:
        figures = self.query_one("#figures", Static)
        if self._shown is None or figures.content_size.width <= 0:
            return
        roomy = self.screen.has_class("-wide") or self.screen.has_class("-tall")
        text = (describe if roomy else brief)(self._shown, figures.content_size.width)
        # A text of as many lines as before needs no new layout, which would cost a frame at every key.
        lines = text.plain.count("\n")
        figures.update(text, layout=lines != self._lines)
        self._lines = lines


def brief(shown: Descendant, width: int) -> Content:
    """Return a descendant in seven lines of at most `width` cells."""
    row, header = shown.row, shown.header
    macs = {part: figure for part, (_, figure) in header.parts_at(row.depth).items()}
    every = sum(macs.values()) or 1
    once = "the rest" if header.architecture.stages else "stem, head"
    shares = {**{name: macs[name] for name in ("attention", "mlp", "norm")}, once: macs["stem"] + macs["head"]}
    parts: list[str | tuple[str, str]] = [("MACs ", "$foreground-muted")]
    for name, value in shares.items():
        label = "MLP" if name == "mlp" else name
        parts += [(f" {label} ", "$foreground-muted"), f"{100 * value / every:.0f} %"]
    lines = [_title(shown), *_layers(header, row.depth, width), Content.assemble(*parts), _accuracy(shown), _memory(shown)]
    lines.append(_warning(shown) or Content.styled(brief_lineage(header), "$foreground-muted"))
    return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)


def describe(shown: Descendant, width: int) -> Content:
    """Return a descendant in words, on lines of at most `width` cells, with its cost by part."""
    row, header = shown.row, shown.header
    lines = [
        _title(shown),
        *_layers(header, row.depth, width),
        _warning(shown) or Content(""),
        *_parts(header, row, width),
        Content(""),
        *_accuracies(shown),
        *_memories(shown),
    ]
    return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)


def _title(shown: Descendant) -> Content:
    name = shown.name[0].upper() + shown.name[1:]
    rule = _rule(shown.header, shown.row.profile[shown.header.architecture.elastic])
    return Content.assemble((name, "bold $accent"), (f" ─ {rule}", "$foreground-muted"))


def _warning(shown: Descendant) -> Content | None:
    """What speaks against the depth: the budget, or that it was not trained."""
    text = shown.header.auxiliary.doubt(shown.row.depth)
    if not shown.row.fits:
        text = f"over the budget: {limits_exceeded(shown.row)}"
    return None if text is None else Content.styled(text, "$warning")


def _rule(header: LearngeneHeader, depth: int) -> str:
    basis = header.basis
    if basis.is_line:
        within = f"l/{depth}" if not header.architecture.stages else "l/L of its stage"
        rule = f"every layer is θB + {within} · θA"
    elif basis.kind.selects:
        rule = f"every layer is one of {basis.terms} blocks"
    else:
        rule = f"every layer is a sum of {basis.terms} terms, {basis.name} basis"
    shared = [part for part in ("attention", "mlp", "norm") if part not in basis.expanded]
    return rule + (f"; {', '.join(shared)} shared" if shared else "")


def _layers(header: LearngeneHeader, depth: Depth, width: int) -> list[Content]:
    """The layers as points; of several stages a line each, with numbers where it is the elastic one."""
    architecture = header.architecture
    if not architecture.stages:
        return _stage(header, architecture.profile(depth)[0], width)
    lines: list[Content] = []
    for index, blocks in enumerate(architecture.profile(depth)):
        label = f"stage {index + 1} "
        points, numbers = _stage(header, blocks, width - len(label))
        lines.append(Content.assemble((label, "$foreground-muted"), points))
        if index == architecture.elastic:
            lines.append(Content.assemble(" " * len(label), numbers))
    return lines


def _stage(header: LearngeneHeader, depth: int, width: int) -> list[Content]:
    """Layers on the line from theta_B to theta_B + theta_A, or with another basis one after the other; numbers below.

    Where each is one of the terms, a stroke stands between those of one term and those of the next.
    """
    linear, terms = header.basis.is_line, header.basis.selected(depth)
    left, right = ("θB ├", "┤ θB+θA") if linear else ("1 ├", f"┤ {depth}")
    if terms is not None:
        left, right = f"θ{terms[0]} ├", f"┤ θ{terms[-1]}"
    room = max(width - len(left) - len(right), depth if depth < width else 8)
    room = min(room, 72)
    line = ["─"] * room
    numbers = [" "] * (room + 4)
    last_end, previous = -1, 0
    for layer in range(depth):
        place = round(layer / (depth if linear else max(depth - 1, 1)) * (room - 1))
        line[place] = "●"
        if terms is not None and layer and terms[layer] != terms[layer - 1] and place - previous > 1:
            line[(previous + place + 1) // 2] = "│"
        previous = place
        text = str(layer + 1)
        if place > last_end and place + len(text) <= len(numbers):
            numbers[place : place + len(text)] = text
            last_end = place + len(text)
    return [
        Content.assemble((left, "$foreground-muted"), ("".join(line), "$primary"), (right, "$foreground-muted")),
        Content.styled(" " * len(left) + "".join(numbers).rstrip(), "$foreground-muted"),
    ]


def _parts(header: LearngeneHeader, row: PreviewRow, width: int) -> list[Content]:
    parts = header.parts_at(row.depth)
    parameters, macs = ({part: figures[place] for part, figures in parts.items()} for place in (0, 1))
    all_macs, all_parameters = sum(macs.values()) or 1, sum(parameters.values()) or 1
    bar = max(8, min(24, width - 46))
    lines = [Content.styled(f"{'':<10}{'MACs':>6}{'':<{bar + 3}}{'params':>6}", "$foreground-muted")]
    for key, label in _PARTS:
        if key == "stem" and header.architecture.stages:
            label = "the rest"  # Stem, transitions and the stages that are not elastic.
        share, weight = macs[key] / all_macs, parameters[key] / all_parameters
        filled = bar_text(share, bar)
        lines.append(
            Content.assemble(
                f"{label:<10}",
                f"{100 * share:>4.0f} % ",
                (filled.ljust(bar + 1), "$primary"),
                f"{100 * weight:>5.0f} %  ",
                (format_count(parameters[key]), "$foreground-muted"),
            )
        )
    return lines


def _accuracy(shown: Descendant) -> Content:
    """All on one line: the shortest words that still say which figure was reached on which data."""
    if not shown.tuned:
        return _accuracies(shown)[0]
    known = _not_classified(shown) if shown.top1 is None else f"{shown.top1:.2f} % {shown.data.removesuffix(' validation')}"
    tuned = [f"{each.top1:.2f} % {each.data}" for each in shown.tuned]
    grey = "$foreground-muted"
    return Content.assemble(("zero-shot ", grey), known, ("  tuned ", grey), ", ".join(tuned))


def _not_classified(shown: Descendant) -> str:
    """What is known where there is no top-1: the cosine of what was learned from features."""
    cosine = shown.row.cosine
    return "not measured" if cosine is None else f"cosine {cosine:.3f} with the teacher"


def _accuracies(shown: Descendant) -> list[Content]:
    known = _not_classified(shown) if shown.top1 is None else f"{shown.top1:.2f} %"
    on = f" on {shown.data}" if shown.data and shown.top1 is not None else ""
    found = [Content.assemble(("zero-shot ", "$foreground-muted"), known, (on, "$foreground-muted"))]
    for each in shown.tuned:
        after = "" if each.epoch is None else f" after {each.epoch} epoch{'s' if each.epoch != 1 else ''}"
        figure, on = f"{each.top1:.2f} %{after}", f" on {each.data}" if each.data else ""
        found.append(Content.assemble(("fine-tuned ", "$foreground-muted"), figure, (on, "$foreground-muted")))
    return found


def _memories(shown: Descendant) -> list[Content]:
    cost = shown.row.cost
    return [
        Content.assemble((f"{what}, batch {shown.batch} ", "$foreground-muted"), format_bytes(value))
        for what, value in (("inference", cost.inference_memory), ("fine-tuning", cost.training_memory))
    ]


def _memory(shown: Descendant) -> Content:
    cost = shown.row.cost
    return Content.assemble(
        (f"batch {shown.batch}: inference ", "$foreground-muted"),
        format_bytes(cost.inference_memory),
        (", fine-tuning ", "$foreground-muted"),
        format_bytes(cost.training_memory),
    )
