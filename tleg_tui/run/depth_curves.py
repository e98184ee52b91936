"""Accuracy by depth: a line for each evaluation of a run that learns a learngene, the latest before the older ones."""

from collections.abc import Iterable, Sequence
from typing import Final

from tleg.runs.history import RunSnapshot
from tleg.runs.reports import EvaluationReport
from tleg_tui.run.curve import Line, Mark, Plot
from tleg_tui.run.plotting import Point

# Older evaluations that are drawn, evenly spread: of more none could be followed.
_MOST_OLDER: Final = 8


def plot_depths(title: str, snapshot: RunSnapshot, other: RunSnapshot | None, empty: str) -> Plot:
    """Return the plot, with the latest evaluation of another run where there is one.

    empty  what is said without an evaluation
    """
    reports = _kept(snapshot.evaluations)
    *older, latest = reports or (None,)
    scores = {} if latest is None else dict(_scores(latest))
    lines = [_line(each, faded=True) for each in _spread(older) if each is not None]
    if latest is not None:
        lines.append(_line(latest))
    if other is not None and (others := _kept(other.evaluations)):
        lines.append(_line(others[-1], other=True))
    depths = [point.x for line in lines for point in line.points if point is not None]
    first, last = (min(depths), max(depths)) if depths else (0.0, 1.0)
    cosine = latest is not None and latest.cosine is not None
    return Plot(
        title=title.replace("accuracy", "cosine") if cosine else title,
        value=_best(scores, cosine=cosine),
        note="" if latest is None or latest.epoch is None else f"epoch {latest.epoch}{', older dim' if older else ''}",
        lines=tuple(lines),
        first=first,
        last=last if last > first else first + 1,
        unit="layers",
        ceiling=1.0 if cosine else 100.0,
        view=f"{first:g} {last:g} {other is None}",
        empty=empty,
    )


def _kept(evaluations: Iterable[EvaluationReport]) -> list[EvaluationReport]:
    """Those with figures by depth; of a step at which several weights were evaluated those of their average."""
    by_step: dict[int, EvaluationReport] = {}
    for each in evaluations:
        if dict(_scores(each)) and (each.step not in by_step or each.weights == "ema"):
            by_step[each.step] = each
    return [by_step[step] for step in sorted(by_step)]


def _scores(report: EvaluationReport) -> Iterable[tuple[int, float]]:
    for score in report.scores:
        figure = score.top1 if score.cosine is None else score.cosine
        if score.depth is not None and figure is not None:
            yield score.depth, figure


def _spread(older: Sequence[EvaluationReport | None]) -> Iterable[EvaluationReport | None]:
    count = min(len(older), _MOST_OLDER)
    return [older[index * (len(older) - 1) // max(count - 1, 1)] for index in range(count)]


def _line(report: EvaluationReport, *, faded: bool = False, other: bool = False) -> Line:
    scores = dict(sorted(_scores(report)))
    best = max(scores.values())
    marks = () if faded else tuple(Mark(depth, figure, figure == best) for depth, figure in scores.items())
    return Line(tuple(Point(depth, figure, figure, figure) for depth, figure in scores.items()), other, marks, faded)


def _best(scores: dict[int, float], *, cosine: bool) -> str:
    if not scores:
        return ""
    depth = max(scores, key=scores.__getitem__)
    return (f"{scores[depth]:.3f}" if cosine else f"{scores[depth]:.1f} %") + f" at depth {depth}"
