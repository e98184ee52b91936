"""Where a run stands: one line to read from two metres, one with bars, one with figures.

What changes at every look stands on the left of a widget of its own, in one colour: that is what travels.
"""

from collections.abc import Iterator
from textwrap import wrap
from typing import Final, NamedTuple

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content

from tleg.runs.follower import RunLook
from tleg.runs.history import CurvePoint, RunSnapshot
from tleg.runs.scalars import SCALARS, StepReport
from tleg.runs.state import REMOVED
from tleg.runs.text import format_reached
from tleg.text import GLYPHS, format_duration, printable
from tleg_tui.common.lines import TextLines
from tleg_tui.common.wording import noted
from tleg_tui.host import host_of
from tleg_tui.run.charts import FORMS, QUANTITIES, Quantity
from tleg_tui.run.numbers import grouped
from tleg_tui.run_list import STATE_COLOURS


class Piece(NamedTuple):
    """A part of the status line; `name` is what keeps its column."""

    name: str
    text: str


def status(look: RunLook, *, asked_to_stop: bool = False, kill_hint: bool = False) -> list[Piece]:
    """Return the parts of the status line: 'epoch 7/20', '38 %', '1 240 img/s', '12 min left', 'best 91.6 at epoch 6'."""
    if look.gone:
        return [Piece("", f"{REMOVED}: {printable(str(look.folder.path))}")]
    state = look.state.state
    if state in ("finished", "stopped", "failed", "lost"):
        end = _end(look)
        return [Piece("", end if end.startswith(state) else f"{state}: {end}")]
    pieces = []
    if state == "stopping" or asked_to_stop:
        pieces.append(Piece("", "stopping: it finishes its step and saves" + (" · K kills it" if kill_hint else "")))
    elif state == "queued":
        pieces.append(Piece("", look.state.message or "queued: it waits for its start"))
    stage = look.snapshot.stage
    if stage is not None:
        count = "" if stage.total is None else f" {stage.done}/{stage.total}"
        pieces.append(Piece("", f"{printable(stage.text)}{count}"))
    elif state == "starting":
        pieces.append(Piece("", "starting"))
    return [*pieces, *_progress(look, moving=stage is None and state != "starting")]


def _progress(look: RunLook, *, moving: bool) -> Iterator[Piece]:
    step, best = look.snapshot.step, look.snapshot.best
    if step is not None:
        if step.epoch is not None and step.epochs is not None:
            yield Piece("epoch", f"epoch {step.epoch:>{len(str(step.epochs))}}/{step.epochs}")
        if step.steps:
            yield Piece("share", f"{100 * step.step // step.steps:>2} %")
        if moving and step.images_per_second is not None:
            yield Piece("speed", f"{grouped(step.images_per_second)} img/s")
        if look.state.eta is not None and step.steps and step.step < step.steps:
            yield Piece("left", f"{format_duration(look.state.eta)} left")
    if best is not None and best.monitored is not None:
        mean = "mean " if best.averaged > 1 else ""
        reached = format_reached(best, decimals=1).removesuffix(" %")
        yield Piece("best", f"best {mean}{reached}" + ("" if best.epoch is None else f" at epoch {best.epoch}"))


def _end(look: RunLook) -> str:
    state, snapshot = look.state, look.snapshot
    best = next((piece.text for piece in _progress(look, moving=False) if piece.name == "best"), "")
    if state.state == "finished":
        took = ""
        if snapshot.start is not None and snapshot.finish is not None and not snapshot.resumptions:
            took = f" in {format_duration(snapshot.finish.t - snapshot.start.t)}"
        exports = "x exports" if state.result is not None else ""
        epochs = f"{state.epochs} epoch{'s' if state.epochs != 1 else ''}" if state.epochs else "all steps"
        return " · ".join(filter(None, (f"{epochs}{took}", best, exports)))
    where = f"step {grouped(state.step)} of {grouped(state.steps)}" if state.step is not None and state.steps else ""
    if state.state == "stopped":
        exports = "x exports" if snapshot.checkpoints else ""
        return " · ".join(filter(None, (noted(state.message or where), "R goes on", exports, best)))
    if state.state == "failed":
        return f"{noted(state.message or 'see the log')} · R tries again"
    return f"{_lost(look)} · R goes on"


def _lost(look: RunLook) -> str:
    kept = look.snapshot.checkpoints
    last = f"its last checkpoint is of step {grouped(kept[-1].step)}" if kept else "it has no checkpoint yet"
    if look.state.exit_code is not None and look.state.message:  # Another process of the run left its reason.
        return f"{noted(look.state.message)}; {last}"
    return f"the trainer ended without a word; {last}"


def totals(look: RunLook) -> tuple[float, str, float | None, str]:
    """Return how much of all steps and of the epoch is done, 0 to 1, and both in words; None where there are no epochs."""
    step, state = look.snapshot.step, look.state
    done, steps = (step.step, step.steps) if step is not None else (state.step or 0, state.steps)
    if not steps:
        return 0.0, "", None, ""
    whole = f"step {grouped(done):>{len(grouped(steps))}} of {grouped(steps)}"
    epochs = step.epochs if step is not None else state.epochs
    if not epochs or steps % epochs:
        return done / steps, whole, None, ""
    length = steps // epochs
    within = (done - 1) % length + 1 if done else 0  # The last step of an epoch is still its own.
    return done / steps, whole, within / length, f"{grouped(within):>{len(grouped(length))}} of {grouped(length)}"


_BARS: Final = "▁▂▃▄▅▆▇█"
# Step scalars with a curve, whose figure is shown while the curve is not.
_FIGURES: Final = tuple(each for each in QUANTITIES if each.brief)
_MOST_LINES: Final = 2
_SHORTEST_SPARK, _LONGEST_SPARK = 4, 24


class StatusLine(TextLines):
    """'▶ epoch 7/20 · 38 % · 1 240 img/s · 12 min left · best 91.6 at epoch 6'. Figures keep their columns.

    How a run ended takes two lines where it needs them.
    """

    DEFAULT_CSS = "StatusLine { height: 1; padding: 0 1; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id)
        self._widths: dict[str, int] = {}

    def show(self, look: RunLook, *, asked_to_stop: bool, kill_hint: bool) -> None:
        """Show where a run stands."""
        state = "lost" if look.gone else look.state.state
        colour = STATE_COLOURS.get(state, "$foreground-muted")
        words: list[str] = []
        figures: list[str] = []
        for piece in status(look, asked_to_stop=asked_to_stop, kill_hint=kill_hint):
            if not piece.name:
                words.append(piece.text)
                continue
            width = self._widths[piece.name] = max(len(piece.text), self._widths.get(piece.name, 0))
            figures.append(piece.text.ljust(width) if piece.name == "best" else piece.text.rjust(width))
        said = " · ".join(words) + (" · " if words and figures else "")
        glyph = "✗" if look.gone else GLYPHS[state]
        lines = [f"{glyph} {said}"] if figures else self._wrapped(f"{glyph} {said}")
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)
        *above, last = (Content.styled(line, f"bold {colour}") for line in lines)
        self.say(*above, Content.assemble(last, (" · ".join(figures), "bold")))

    def _wrapped(self, text: str) -> list[str]:
        """A run that ended has no figures that change: its sentence may take a second line."""
        lines = wrap(text, max(self.size.width, 20), subsequent_indent="  ", break_on_hyphens=False)
        return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1]} …"]


class ProgressLine(Horizontal):
    """How much of all steps is done, and how much of the epoch: in figures and as bars."""

    DEFAULT_CSS = """
    ProgressLine { height: 1; padding: 0 1; }
    ProgressLine TextLines { height: 1; width: 3fr; }
    ProgressLine #epoch-done { width: 2fr; margin-left: 2; }
    """

    def compose(self) -> ComposeResult:
        """The run, and its epoch."""
        yield TextLines(id="run-done")
        yield TextLines(id="epoch-done")

    def show(self, look: RunLook) -> None:
        """Show how far a run is."""
        state = "gone" if look.gone else look.state.state
        share, whole, part, within = totals(look)
        left, right = self.query_one("#run-done", TextLines), self.query_one("#epoch-done", TextLines)
        head = (f"{state:<8} ", STATE_COLOURS.get(state, "$foreground-muted"))
        if not whole:
            text = "" if look.complete else "reading its history…"
            left.say(Content.assemble(head, (text, "$foreground-muted")))
            right.say()
            return
        letters = "=." if host_of(self).ascii else "━─"
        room = left.size.width - len(head[0]) - len(whole) - 1
        left.say(Content.assemble(head, f"{whole} ", *_bar(share, room, letters)))
        if part is None:
            right.say()
            return
        room = right.size.width - len(within) - 7
        right.say(Content.assemble(f"epoch {within} ", *_bar(part, room, letters)))


def _bar(share: float, length: int, letters: str) -> list[tuple[str, str]]:
    length = max(length, 0)
    filled = min(length, int(share * length))
    return [(letters[0] * filled, "$primary"), (letters[1] * (length - filled), "$foreground-disabled")]


class FiguresLine(Horizontal):
    """What has no curve on the screen at the moment: the latest value, and its way there in a few bars."""

    DEFAULT_CSS = """
    FiguresLine { height: 1; padding: 0 1; }
    FiguresLine TextLines { height: 1; width: 1fr; margin-right: 2; }
    FiguresLine #others { width: auto; min-width: 9; margin-right: 0; }
    """

    def compose(self) -> ComposeResult:
        """One part for each quantity, and one for the rest."""
        for quantity in _FIGURES:
            yield TextLines(id=_id(quantity))
        yield TextLines(id="others")

    def show(self, snapshot: RunSnapshot, shown: tuple[Quantity, ...]) -> None:
        """Show the figures of the latest step."""
        step = snapshot.step
        for quantity in _FIGURES:
            part = self.query_one(f"#{_id(quantity)}", TextLines)
            value = None if step is None else getattr(step, quantity.field)
            wanted = quantity not in shown
            if part.display != wanted:
                part.display = wanted
            if not wanted:
                continue
            text = f"{'–' if value is None else quantity.write(quantity.times * value):>{quantity.width}}"
            room = min(part.size.width - len(text) - len(quantity.brief) - 2, _LONGEST_SPARK)
            spark = f" {_spark(quantity, snapshot, room)}" if room >= _SHORTEST_SPARK else ""
            part.say(Content.assemble(text, (f" {quantity.brief}", "$foreground-muted"), (spark, "$primary")))
        others = self.query_one("#others", TextLines)
        text = "  ".join(_others(step)) if step is not None else ""
        if others.styles.width is None or others.styles.width.value != len(text):
            others.styles.width = len(text)
        others.say(Content.styled(text, "$warning"))


def _others(step: StepReport) -> list[str]:
    """Figures of step scalars without a curve, as far as they are worth a look."""
    found = []
    for name, scalar in SCALARS.items():
        value = getattr(step, name)
        if scalar.brief and scalar.fold is None and scalar.notable(value):
            write, width = FORMS[scalar.form]
            found.append(f"{write(scalar.shown(value)):>{width}} {scalar.brief}")
    return found


def _spark(quantity: Quantity, snapshot: RunSnapshot, length: int) -> str:
    """The whole run so far in a few bars, each the mean of its part."""
    points = snapshot.curve.points
    if len(points) < 2:
        return " " * length
    first, last = points[0].first, points[-1].last
    sums = [[0.0, 0.0] for _ in range(length)]
    for point in points:
        spread = point.values.get(quantity.field)
        if spread is not None:
            place = sums[_place(point, first, last, length)]
            place[0] += spread.mean
            place[1] += 1
    means = [total / count if count else None for total, count in sums]
    known = [mean for mean in means if mean is not None]
    low, high = min(0.0, min(known, default=0.0)), max(known, default=0.0)
    span = high - low or 1.0
    return "".join(" " if mean is None else _BARS[min(7, int((mean - low) / span * 7.999))] for mean in means)


def _place(point: CurvePoint, first: int, last: int, length: int) -> int:
    return min(length - 1, (point.first - first) * length // max(last - first, 1))


def _id(quantity: Quantity) -> str:
    return f"figure-{quantity.field.replace('_', '-')}"
