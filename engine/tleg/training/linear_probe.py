"""A linear probe: multinomial logistic regression on frozen features, with nothing random in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from tleg.training.features import Features

# L2 strengths that are tried, the strongest first, so that each starts where a smoother one ended.
STRENGTHS: Final = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
# Of every class, one training image in so many chooses the strength.
_CHOOSING_ONE_IN: Final = 5
_ITERATIONS: Final = 200
# Logits that are held at a time.
_MOST_LOGITS: Final = 2**24


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """What a linear probe reached: accuracy in percent, and the L2 strength that was chosen."""

    accuracy: float
    strength: float


@dataclass(frozen=True, slots=True, eq=False)
class _Classifier:
    """weight (classes, size) and bias (classes,), for features that were standardised."""

    weight: Tensor
    bias: Tensor

    def predict(self, values: Tensor) -> Tensor:
        return torch.cat([(values[some] @ self.weight.T + self.bias).argmax(dim=1) for some in _blocks(values, self.bias)])


def linear_probe(train: Features, validation: Features, classes: int) -> LinearProbe:
    """Fit a linear classifier to the training features and return what it reaches on the validation features.

    Features are standardised as those of training are. The strength is the one with the highest accuracy on a fifth of
    every class of the training images, of equals the strongest; the classifier is fitted to all of them with it.
    """
    chosen = _choosing(train.labels)
    strength = STRENGTHS[len(STRENGTHS) // 2]
    if len(train) > int(chosen.sum()) > 0:
        values, others = _standardised(train.values[~chosen], train.values[chosen])
        start, best = None, -1.0
        for each in STRENGTHS:
            start = fit_logistic(values, train.labels[~chosen], classes, each, start)
            accuracy = _accuracy(start, others, train.labels[chosen])
            if accuracy > best:
                strength, best = each, accuracy
    values, others = _standardised(train.values, validation.values)
    fitted = fit_logistic(values, train.labels, classes, strength)
    return LinearProbe(_accuracy(fitted, others, validation.labels), strength)


def fit_logistic(
    values: Tensor, labels: Tensor, classes: int, strength: float, start: _Classifier | None = None
) -> _Classifier:
    """Minimise the mean cross entropy plus strength / 2 * |weight|^2 by full-batch L-BFGS in float64.

    values    (N, size) float64
    labels    (N,) the indices of their classes
    strength  of the penalty; the bias has none
    start     where to begin; None is zeros
    """
    size = values.shape[1]
    weight = (values.new_zeros(classes, size) if start is None else start.weight.clone()).requires_grad_(True)
    bias = (values.new_zeros(classes) if start is None else start.bias.clone()).requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        penalty = strength / 2 * weight.square().sum()
        penalty.backward()
        total = float(penalty.detach())
        for some in _blocks(values, bias):
            loss = F.cross_entropy(values[some] @ weight.T + bias, labels[some], reduction="sum") / len(labels)
            loss.backward()
            total += float(loss.detach())
        return total

    optimizer.step(closure)
    return _Classifier(weight.detach(), bias.detach())


def _blocks(values: Tensor, bias: Tensor) -> Iterator[slice]:
    step = max(1, _MOST_LOGITS // len(bias))
    return (slice(first, first + step) for first in range(0, len(values), step))


def _accuracy(classifier: _Classifier, values: Tensor, labels: Tensor) -> float:
    return 100 * float((classifier.predict(values) == labels).double().mean())


def _standardised(train: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the mean 0 and the deviation 1 that the first then has; what is constant there becomes 0 there."""
    known = train.double()
    mean, deviation = known.mean(dim=0), known.std(dim=0, correction=0)
    deviation[deviation == 0] = 1
    return (known - mean) / deviation, (others.double() - mean) / deviation


def _choosing(labels: Tensor) -> Tensor:
    """Which images choose the strength: the fifth, the tenth, ... of every class, in the order of the data."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        chosen[torch.nonzero(labels == label).flatten()[_CHOOSING_ONE_IN - 1 :: _CHOOSING_ONE_IN]] = True
    return chosen
