"""Nearest neighbours by cosine: weighted votes (Wu et al., arXiv 1805.01978; DINO, arXiv 2104.14294), and retrieval."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from tleg.training.features import Features

# Softens the votes of neighbours: both papers'.
TEMPERATURE: Final = 0.07
NEIGHBOURS: Final = 20
# Cosines of so many pairs of images are held at a time.
_MOST_PAIRS: Final = 2**24


@torch.inference_mode()
def knn_votes(bank: Features, queries: Tensor, classes: int, neighbours: int = NEIGHBOURS) -> Tensor:
    """Return the votes (N, classes) of the nearest images of the bank for queries (N, size), in float64.

    Each of the `neighbours` with the largest cosine votes for its class with exp(cosine / 0.07); a bank of fewer votes as a
    whole.
    """
    known = F.normalize(bank.values.double(), dim=1)
    count = min(neighbours, len(bank))
    votes = torch.zeros(len(queries), classes, dtype=torch.float64)
    step = max(1, _MOST_PAIRS // len(bank))
    for first in range(0, len(queries), step):
        some = slice(first, first + step)
        cosines, nearest = (F.normalize(queries[some].double(), dim=1) @ known.T).topk(count, dim=1)
        votes[some].scatter_add_(1, bank.labels[nearest], (cosines / TEMPERATURE).exp())
    return votes


def knn_accuracy(bank: Features, queries: Features, classes: int, neighbours: int = NEIGHBOURS) -> float:
    """Return in percent how often the class with the most votes is the query's. See `knn_votes`."""
    votes = knn_votes(bank, queries.values, classes, neighbours)
    return 100 * float((votes.argmax(dim=1) == queries.labels).double().mean())


@torch.inference_mode()
def average_precisions(features: Features) -> Tensor:
    """Return the average precision of each image as a query against all others, ranked by cosine: (N,) float64 in 0..1.

    Relevant are images of the same class. An image that is alone in its class has no such figure: NaN. Of equal cosines the
    image with the smaller number comes first.
    """
    values = F.normalize(features.values.double(), dim=1)
    count, found = len(features), []
    step = max(1, _MOST_PAIRS // count)
    ranks = torch.arange(1, count, dtype=torch.float64)
    for first in range(0, count, step):
        rows = torch.arange(first, min(first + step, count))
        cosines = values[rows] @ values.T
        # The query itself comes last, and is cut off.
        cosines[torch.arange(len(rows)), rows] = -torch.inf
        order = cosines.argsort(dim=1, descending=True, stable=True)[:, :-1]
        relevant = (features.labels[order] == features.labels[rows, None]).double()
        precision = relevant.cumsum(dim=1) / ranks
        found.append((precision * relevant).sum(dim=1) / relevant.sum(dim=1))
    return torch.cat(found)


def mean_average_precision(features: Features) -> float | None:
    """Return the mean of `average_precisions` in percent; None where every image is alone in its class."""
    values = average_precisions(features)
    known = values[~values.isnan()]
    return 100 * float(known.mean()) if len(known) else None
