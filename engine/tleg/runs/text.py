"""How runs read: progress, steps, evaluations."""

from tleg.runs.reports import EvaluationReport
from tleg.runs.scalars import StepReport, line_figures
from tleg.runs.state import RunState
from tleg.text import MEAN


def format_progress(state: RunState) -> str:
    """Write how far a run is: '12.3/30 epochs', or nothing before its first step."""
    if not state.steps or state.step is None:
        return ""
    if state.epochs is None:
        return f"{100 * state.step / state.steps:.0f} %"
    return f"{round(state.step * state.epochs / state.steps, 1):g}/{state.epochs} epochs"


def format_step(report: StepReport) -> str:
    """Write a step on one line."""
    place = (f"epoch {report.epoch}/{report.epochs}", f"step {report.step}/{report.steps}")
    return ", ".join((*place, *line_figures(report)))


def format_evaluation(report: EvaluationReport) -> str:
    """Write an evaluation on one line: 'epoch 3: top-1 81.20 % at depth 4, 83.10 % at depth 8 (average of the weights)'.

    Where features are learned it is 'cosine 0.912 at depth 4, …'.
    """
    name = "top-1" if report.cosine is None else "cosine"
    figures = [(score.depth, score.top1, score.cosine) for score in report.scores]
    scores = ", ".join(
        (f"{top1:.2f} %" if cosine is None else f"{cosine:.3f}") + ("" if depth is None else f" at depth {depth}")
        for depth, top1, cosine in figures
        if top1 is not None or cosine is not None
    )
    weights = " (average of the weights)" if report.weights == "ema" else ""
    return f"epoch {report.epoch}: {name} {scores}{weights}"


def format_top1(report: EvaluationReport | None) -> str:
    """Write the top-1 accuracy of an evaluation in percent: '81.20', '⌀82.15' for a mean over depths, '' without one.

    Where features are learned the cosine stands in its place, in 7 characters: 'cos .93'.
    """
    if report is None or report.monitored is None:
        return ""
    if report.cosine is not None:
        return "cos " + f"{report.cosine:.2f}".replace("0.", ".")[:3]
    assert report.top1 is not None
    return f"{MEAN if report.averaged > 1 else ''}{report.top1:.2f}"


def format_reached(report: EvaluationReport | None, decimals: int = 2, *, marked: bool = False) -> str:
    """Write what an evaluation reached: '81.20 %', or 'cosine 0.912' where features are learned; '' without a figure.

    decimals  of an accuracy
    marked    begin the figure with the sign of a mean where it is one
    """
    if report is None or report.monitored is None:
        return ""
    mean = MEAN if marked and report.averaged > 1 else ""
    return f"{mean}{report.monitored:.{decimals}f} %" if report.cosine is None else f"cosine {mean}{report.cosine:.3f}"


def mean_of(report: EvaluationReport) -> str:
    """Say of what an evaluation's top-1 is the mean: ', mean of 3 depths', or nothing where it is that of one model."""
    return f", mean of {report.averaged} depths" if report.averaged > 1 else ""
