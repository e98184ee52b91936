"""Votes of neighbours and average precision, against scikit-learn and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from tleg.training import neighbours
from tleg.training.features import Features
from tleg.training.neighbours import average_precisions, knn_accuracy, knn_votes, mean_average_precision


def features(count: int, classes: int, seed: int, size: int = 6) -> Features:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return Features(torch.randn(count, size, generator=generator) + labels[:, None] / 2, labels)


@given(seed=st.integers(0, 10**6), bank=st.integers(1, 60), count=st.integers(1, 20), k=st.integers(1, 25))
def test_votes_are_those_of_scikit_learn(seed: int, bank: int, count: int, k: int) -> None:
    known, queries = features(bank, 4, seed), features(count, 4, seed + 1).values
    votes = knn_votes(known, queries, 4, k)
    theirs = KNeighborsClassifier(min(k, bank), metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    theirs.fit(known.values.double().numpy(), known.labels.numpy())
    shares = theirs.predict_proba(queries.double().numpy())
    mine = (votes / votes.sum(1, keepdim=True)).numpy()[:, theirs.classes_]
    np.testing.assert_allclose(mine, shares, atol=1e-9)


@given(seed=st.integers(0, 10**6), count=st.integers(2, 40), classes=st.integers(1, 5))
def test_average_precision_is_that_of_scikit_learn(seed: int, count: int, classes: int) -> None:
    found = features(count, classes, seed)
    mine = average_precisions(found)
    values = torch.nn.functional.normalize(found.values.double(), dim=1)
    for index in range(count):
        others = torch.arange(count) != index
        relevant = (found.labels[others] == found.labels[index]).numpy()
        if not relevant.any():
            assert mine[index].isnan()
            continue
        expected = average_precision_score(relevant, (values[others] @ values[index]).numpy())
        assert float(mine[index]) == pytest.approx(expected, abs=1e-9)


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = features(50, 5, 1), features(33, 5, 2)
    whole = knn_votes(bank, queries.values, 5), average_precisions(queries)
    monkeypatch.setattr(neighbours, "_MOST_PAIRS", 120)
    torch.testing.assert_close(knn_votes(bank, queries.values, 5), whole[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(average_precisions(queries), whole[1], rtol=1e-12, atol=0, equal_nan=True)


def test_figures_by_hand() -> None:
    # On a line of directions: the class changes in the middle.
    angles = torch.tensor([0.0, 0.1, 0.2, 1.3, 1.4])
    made = Features(torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([0, 0, 1, 1, 1]))
    # The first: 0.1 is relevant and first. The third: 0.1, 0.0 come before 1.3 and 1.4.
    assert float(average_precisions(made)[0]) == 1
    assert float(average_precisions(made)[2]) == pytest.approx((1 / 3 + 2 / 4) / 2)
    query = Features(made.values[:1], torch.tensor([1]))
    assert knn_accuracy(made, query, 2, neighbours=1) == 0
    assert knn_accuracy(made, Features(query.values, torch.tensor([0])), 2, neighbours=1) == 100


def test_images_that_are_alone_in_their_classes_have_no_figure() -> None:
    assert mean_average_precision(Features(torch.eye(3), torch.arange(3))) is None
