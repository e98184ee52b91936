"""Where a run stands: one line to read from two metres, one with bars, one with figures."""

from typing import Final

from textual.content import Content

from tleg.cli.run_text import GLYPHS
from tleg.runs.curve import CurvePoint
from tleg.runs.follower import RunLook
from tleg.runs.snapshot import RunSnapshot
from tleg_tui import numbers
from tleg_tui.run_curves import GRADIENT, RATE, SPEED, Quantity
from tleg_tui.run_words import STATE_COLOURS, status, totals
from tleg_tui.widgets.spans import TextLines

_BARS: Final = "▁▂▃▄▅▆▇█"
_NOTABLE_WAIT: Final = 0.2
_SHORTEST_SPARK, _LONGEST_SPARK = 4, 24
_GAP: Final = "   "


class StatusLine(TextLines):
    """'▶ epoch 7/20 · 38 % · 1 240 img/s · 12 min left · best 91.6 at epoch 6'. Figures keep their columns."""

    DEFAULT_CSS = "StatusLine { height: 1; padding: 0 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._widths: dict[str, int] = {}

    def show(self, look: RunLook, *, asked_to_stop: bool, kill_hint: bool) -> None:
        """Show where a run stands."""
        state = "lost" if look.gone else look.state.state
        colour = STATE_COLOURS.get(state, "$text-muted")
        glyph = "✗" if look.gone else GLYPHS[state]
        parts: list[str | Content | tuple[str, str]] = [(f"{glyph} ", f"bold {colour}")]
        for place, piece in enumerate(status(look, asked_to_stop=asked_to_stop, kill_hint=kill_hint)):
            width = self._widths[piece.name] = max(len(piece.text), self._widths.get(piece.name, 0)) if piece.name else 0
            if place:
                parts.append((" · ", "$text-disabled"))
            style = "bold" if piece.name else f"bold {colour}"
            text = piece.text.ljust(width) if piece.name == "best" else piece.text.rjust(width)
            parts.append((text, style))
        self.say(Content.assemble(*parts))


class ProgressLine(TextLines):
    """A bar of all steps and one of the epoch, with both in figures."""

    DEFAULT_CSS = "ProgressLine { height: 1; padding: 0 1; }"

    def show(self, look: RunLook) -> None:
        """Show how far a run is."""
        state = "gone" if look.gone else look.state.state
        share, whole, part, within = totals(look)
        colour = STATE_COLOURS.get(state, "$text-muted")
        head = (f"{state:<9}", colour)
        if not whole:
            text = "" if look.complete else "reading its history…"
            self.say(Content.assemble(head, (text, "$text-muted")))
            return
        room = self.size.width - 9 - len(whole) - 2
        if part is not None:
            room -= len(within) + 10
        length = max(8, room if part is None else room * 2 // 3)
        pieces = [head, *_bar(share, length), (f" {whole}", "$foreground")]
        if part is not None:
            pieces += [("  epoch ", "$text-muted"), *_bar(part, max(6, room - length)), (f" {within}", "$text-muted")]
        self.say(Content.assemble(*pieces))


def _bar(share: float, length: int) -> list[tuple[str, str]]:
    filled = min(length, int(share * length))
    return [("━" * filled, "$primary"), ("─" * (length - filled), "$text-disabled")]


class FiguresLine(TextLines):
    """What has no curve on the screen at the moment: the latest value, and its way there in a few bars."""

    DEFAULT_CSS = "FiguresLine { height: 1; padding: 0 1; }"

    def show(self, snapshot: RunSnapshot, shown: tuple[Quantity, ...]) -> None:
        """Show the figures of the latest step."""
        step = snapshot.step
        if step is None:
            self.say(Content.styled("no step has been made yet", "$text-muted"))
            return
        curves = [
            (quantity, Content.assemble((f"{name} ", "$text-muted"), f"{quantity.write(value):>{width}}"))
            for quantity, name, width, value in (
                (RATE, "rate", 8, step.learning_rate),
                (SPEED, "img/s", 6, step.images_per_second),
                (GRADIENT, "gradient", 7, step.gradient_norm),
            )
            if quantity not in shown and value is not None
        ]
        others: list[Content] = []
        for name, text in (
            ("teacher", None if step.distillation_loss is None else f"{numbers.short(step.distillation_loss):>7}"),
            ("scale", None if step.scale is None else numbers.short(step.scale)),
        ):
            if text is not None:
                others.append(Content.assemble((f"{name} ", "$text-muted"), text))
        if step.data_wait is not None and step.data_wait > _NOTABLE_WAIT:
            others.append(Content.styled(f"waits {100 * step.data_wait:>2.0f} %", "$warning"))
        texts = [*(text for _, text in curves), *others]
        room = self.size.width - sum(text.cell_length for text in texts) - len(_GAP) * (len(texts) - 1)
        length = min(room // max(len(curves), 1) - 1, _LONGEST_SPARK)
        if length >= _SHORTEST_SPARK:
            texts[: len(curves)] = [
                text + Content.styled(f" {_spark(quantity, snapshot, length)}", "$primary") for quantity, text in curves
            ]
        self.say(Content(_GAP).join(texts))


def _spark(quantity: Quantity, snapshot: RunSnapshot, length: int) -> str:
    """The whole run so far in a few bars, each the mean of its part."""
    points = snapshot.curve.points
    value = quantity.value
    if value is None or len(points) < 2:
        return " " * length
    first, last = points[0].first, points[-1].last
    sums = [[0.0, 0.0] for _ in range(length)]
    for point in points:
        spread = value(point)
        if spread is not None:
            place = sums[_place(point, first, last, length)]
            place[0] += spread.mean
            place[1] += 1
    means = [total / count if count else None for total, count in sums]
    known = [mean for mean in means if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    low = min(low, 0.0)
    span = high - low or 1.0
    return "".join(" " if mean is None else _BARS[min(7, int((mean - low) / span * 7.999))] for mean in means)


def _place(point: CurvePoint, first: int, last: int, length: int) -> int:
    return min(length - 1, (point.first - first) * length // max(last - first, 1))
