"""Calibration: how far a model's probabilities are from how often it is right, and the temperature that brings them closer.

The temperature divides the outputs before the softmax. It is fitted to one half of the images, and what it is worth is shown
on the other (Guo et al., On Calibration of Modern Neural Networks, 2017, arXiv 1706.04599, sections 2 and 4.2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from tleg.errors import InputError, TlegError
from tleg.learngene.calibration import LEAST_TEMPERATURE, MOST_TEMPERATURE, Calibration
from tleg.learngene.profile import Depth, format_depth
from tleg.training.learn import measured_on
from tleg.training.outputs import collect_outputs
from tleg.training.prepared import PreparedEvaluation

BINS: Final = 15
# Relative, of the temperature; and the digits of one that is kept.
_PRECISION: Final = 1e-10
DECIMALS: Final = 4
_MOST_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities can be trusted.

    ece   expected calibration error in percent, see `calibration_error`
    nll   mean negative log-likelihood of the right classes, in nats
    top1  accuracy in percent, which no temperature changes
    """

    ece: float
    nll: float
    top1: float


@dataclass(frozen=True, slots=True)
class CalibratedDepth:
    """A model on images that its temperature was not fitted to, with its outputs as they are, and divided by it."""

    temperature: float
    before: Reliability
    after: Reliability


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """What temperatures do for each depth of a model.

    calibration  the temperatures, and what they were fitted to
    images       how many others the figures are of
    unreadable   images that could not be read, and are in neither half
    depths       by depth; a model of a depth that is not known has the key None
    """

    calibration: Calibration
    images: int
    unreadable: int
    depths: Mapping[Depth | None, CalibratedDepth]


def calibrate(prepared: PreparedEvaluation, progress: Callable[[int, int], None] | None = None) -> CalibrationResult:
    """Fit temperatures to one half of the images, and measure on the other what they do.

    One is fitted to all depths together; with `options.each_depth` of what is prepared, also each depth's own, which holds
    for it then.

    Raises TlegError where outputs are not finite or no temperature is best, InputError where the classes are not the
    model's or fewer than two, DataError.
    """
    require_choice(prepared)
    seen = collect_outputs(prepared, progress)
    seed = prepared.options.seed or 0
    fit, rest = seen.halves(seed)
    own = {}
    if prepared.options.each_depth:
        own = {
            format_depth(depth): round(fit_temperature([logits], fit.labels, _at(depth)), DECIMALS)
            for depth, logits in fit.logits.items()
            if depth is not None
        }
    calibration = Calibration(
        temperature=round(fit_temperature(list(fit.logits.values()), fit.labels), DECIMALS),
        data=measured_on(prepared.data),
        images=len(fit),
        seed=seed,
        num_classes=prepared.subject.num_classes,
        image_size=prepared.subject.input_size[1:],
        by_depth=own or None,
    )
    depths = {}
    for depth, logits in rest.logits.items():
        temperature = calibration.at(depth)
        before, after = reliability(logits, rest.labels), reliability(logits, rest.labels, temperature)
        depths[depth] = CalibratedDepth(temperature, before, after)
    return CalibrationResult(calibration, len(rest), seen.unreadable, depths)


def require_choice(prepared: PreparedEvaluation) -> None:
    """Refuse a model of one class: its probability is 1, whatever it computes. Raises InputError."""
    if prepared.subject.num_classes == 1:
        raise InputError(
            "a model of one class is always sure of it, so its probabilities cannot be calibrated",
            field="path",
            code="unsupported",
        )


def reliability(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> Reliability:
    """How far the softmax of logits (N, classes), divided by a temperature, can be trusted. `labels` (N,)."""
    scaled = logits.double() / temperature
    confidence, predicted = scaled.softmax(1).max(1)
    right = predicted == labels
    nll = F.cross_entropy(scaled, labels).item()
    return Reliability(calibration_error(confidence, right), nll, 100 * right.double().mean().item())


def calibration_error(confidence: Tensor, right: Tensor, bins: int = BINS) -> float:
    """The expected calibration error in percent: sum over bins of their share times |accuracy - mean confidence|.

    confidence  (N,) the probability of the class that is predicted, 0 to 1
    right       (N,) whether that is the right one
    bins        of equal width; bin m of M holds confidences in ((m - 1) / M, m / M], as in Guo et al., equation 3
    """
    confidence = confidence.double()
    place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    # The share of a bin cancels its own count: what is left is the sum of (right - confidence) in each.
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right.double() - confidence)
    return 100 * sums.abs().sum().item() / len(confidence)


def fit_temperature(logits: Sequence[Tensor], labels: Tensor, where: str = "") -> float:
    """Return the temperature with the least mean negative log-likelihood.

    logits  (N, classes) of each of several models for the same images
    labels  (N,)
    where   of which model an error is, as ' at depth 3'

    It is a convex function of 1 / T, so its slope has one zero: found by Newton's steps, kept within what is
    known to hold it. Raises TlegError where that is not between 0.01 and 100.
    """
    low, high = 1 / MOST_TEMPERATURE, 1 / LEAST_TEMPERATURE
    if _slope(logits, labels, high)[0] <= 0:
        raise TlegError(
            f"no temperature from {LEAST_TEMPERATURE:g} on is best{where}: the outputs are right for each of these "
            f"{len(labels)} images, so the surer the better; take more images",
            code="unusable",
        )
    if _slope(logits, labels, low)[0] >= 0:
        raise TlegError(
            f"no temperature up to {MOST_TEMPERATURE:g} is best{where}: the outputs say next to nothing of the classes of "
            f"these {len(labels)} images, so the less sure the better",
            code="unusable",
        )
    inverse = 1.0
    for _ in range(_MOST_STEPS):
        slope, curvature = _slope(logits, labels, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0 else 0.0
        if abs(step - inverse) <= _PRECISION * inverse:
            break
        # Halves of a range of powers, where Newton's step would leave it.
        inverse = step if low < step < high else (low * high) ** 0.5
    return 1 / inverse


def _slope(logits: Sequence[Tensor], labels: Tensor, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by 1 / T: E[z] - z_right, and the variance of z."""
    slope, curvature = 0.0, 0.0
    for given in logits:
        each = given.double()  # One at a time: of many classes and depths there may be gigabytes.
        probabilities = (each * inverse).softmax(1)
        mean = (probabilities * each).sum(1)
        slope += (mean - each.gather(1, labels[:, None])[:, 0]).mean().item()
        curvature += (probabilities * (each - mean[:, None]).square()).sum(1).mean().item()
    return slope / len(logits), curvature / len(logits)


def _at(depth: Depth) -> str:
    return f" at depth {format_depth(depth)}"
