"""What the Run screen says: where a run stands in one line, what may be done next, what happened."""

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from tleg.runs.follower import RunLook
from tleg.runs.history import RunSnapshot
from tleg.runs.reports import EvaluationReport
from tleg.runs.state import REMOVED
from tleg.text import format_bytes, format_duration, printable
from tleg_tui.numbers import grouped
from tleg_tui.wording import said

STATE_COLOURS: Final = {
    "running": "$success",
    "finished": "$success",
    "stopping": "$warning",
    "stopped": "$warning",
    "failed": "$error",
    "lost": "$error",
}
_MOST_EVENTS: Final = 400


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
    if best is not None and best.top1 is not None:
        mean = "mean " if best.averaged > 1 else ""
        yield Piece("best", f"best {mean}{best.top1:.1f}" + ("" if best.epoch is None else f" at epoch {best.epoch}"))


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
        return " · ".join(filter(None, (said(state.message or where), "R goes on", exports, best)))
    if state.state == "failed":
        return f"{said(state.message or 'see the log')} · R tries again"
    return f"{_lost(look)} · R goes on"


def _lost(look: RunLook) -> str:
    kept = look.snapshot.checkpoints
    last = f"its last checkpoint is of step {grouped(kept[-1].step)}" if kept else "it has no checkpoint yet"
    if look.state.exit_code is not None and look.state.message:  # Another process of the run left its reason.
        return f"{said(look.state.message)}; {last}"
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


class Happening(NamedTuple):
    """Something that happened: when, with which glyph and colour, in words."""

    t: float
    glyph: str
    colour: str
    text: str


def happenings(snapshot: RunSnapshot, broken: int = 0, broken_at: float | None = None) -> list[Happening]:
    """Return what happened in a run, oldest first: starts, evaluations, checkpoints, warnings, and how it ended.

    broken, broken_at  how many lines of the events could not be read, and when the last of them was written
    """
    found: list[Happening] = []
    if snapshot.start is not None and not snapshot.resumptions:
        found.append(Happening(snapshot.start.t, "▶", "$success", _start(snapshot)))
    for start in snapshot.resumptions:
        source = f" from {start.resumed_from}" if start.resumed_from else ""
        found.append(Happening(start.t, "▶", "$success", f"went on at step {grouped(start.step)}{source}"))
    found += [Happening(each.t, "○", "$foreground", evaluation_words(each)) for each in snapshot.evaluations]
    for kept in snapshot.checkpoints:
        size = "" if kept.bytes is None else f", {format_bytes(kept.bytes)}"
        best = ", the best so far" if kept.best else ""
        found.append(
            Happening(kept.t, "■", "$foreground-muted", f"checkpoint of step {grouped(kept.step)} saved{size}{best}")
        )
    found += [Happening(each.t, "!", "$warning", said(each.text)) for each in snapshot.warnings]
    if (finish := snapshot.finish) is not None:
        colour = {"failed": "$error", "finished": "$success"}.get(finish.state, "$warning")
        reason = finish.reason or finish.state
        text = reason if reason.startswith(finish.state) else f"{finish.state}: {reason}"
        found.append(Happening(finish.t, "✗" if finish.state == "failed" else "■", colour, said(text)))
    if broken:
        lines = "1 line" if broken == 1 else f"{broken} lines"
        found.append(Happening(broken_at or 0.0, "!", "$warning", f"{lines} of the events could not be read"))
    found.sort(key=lambda each: each.t)
    return found[-_MOST_EVENTS:]


def evaluation_words(report: EvaluationReport) -> str:
    """An evaluation: 'epoch 3: top-1 81.2 %', or the mean and then every depth."""
    where = "" if report.epoch is None else f"epoch {report.epoch}: "
    weights = " (average of the weights)" if report.weights == "ema" else ""
    scores = [(score.depth, score.top1) for score in report.scores if score.top1 is not None]
    if report.top1 is None or not scores:
        return f"{where}evaluated{weights}"
    depths = ""
    if len(scores) > 1:
        depths = " in the mean; " + ", ".join(f"depth {depth} {top1:.1f}" for depth, top1 in scores)
    elif scores[0][0] is not None:
        depths = f" at depth {scores[0][0]}"
    return f"{where}top-1 {report.top1:.1f} %{depths}{weights}"


def _start(snapshot: RunSnapshot) -> str:
    start = snapshot.start
    assert start is not None
    parts = [f"started on {start.device or 'a device'}", start.precision or ""]
    if start.world_size and start.world_size > 1:
        parts.append(f"{start.world_size} processes")
    return ", ".join(filter(None, parts)) + (f" ({start.reason})" if start.reason else "")


def clock(t: float) -> str:
    """The time of day."""
    return time.strftime("%H:%M:%S", time.localtime(t))
