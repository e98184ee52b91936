"""The linear probe against scikit-learn's logistic regression."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.training.test_neighbours import features
from tleg.training import linear_probe as module
from tleg.training.features import Features
from tleg.training.linear_probe import STRENGTHS, fit_logistic, linear_probe


@pytest.mark.parametrize("strength", [1.0, 1e-2])
def test_the_fit_is_that_of_scikit_learn(strength: float) -> None:
    made = features(200, 4, 3)
    values = made.values.double()
    fitted = fit_logistic(values, made.labels, 4, strength)
    # Its penalty is |w|^2 / 2 beside C times the sum of the losses.
    theirs = LogisticRegression(C=1 / (strength * 200), tol=1e-10, max_iter=5000).fit(values.numpy(), made.labels.numpy())
    shares = (values @ fitted.weight.T + fitted.bias).softmax(dim=1)
    np.testing.assert_allclose(shares.numpy(), theirs.predict_proba(values.numpy()), atol=1e-4)


def test_blocks_change_nothing_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = features(90, 3, 5)
    whole = fit_logistic(made.values.double(), made.labels, 3, 0.01)
    monkeypatch.setattr(module, "_MOST_LOGITS", 40)
    torch.testing.assert_close(
        fit_logistic(made.values.double(), made.labels, 3, 0.01).weight, whole.weight, atol=1e-4, rtol=0
    )


def test_the_same_features_give_the_same_figure_at_any_scale() -> None:
    train, validation = features(120, 4, 7), features(80, 4, 8)
    once = linear_probe(train, validation, 4)
    assert once == linear_probe(train, validation, 4)
    scaled, others = (Features(each.values * 1024 + 7, each.labels) for each in (train, validation))
    assert linear_probe(scaled, others, 4).accuracy == pytest.approx(once.accuracy, abs=3)
    assert once.strength in STRENGTHS


def test_what_is_separable_is_separated_and_constants_do_no_harm() -> None:
    labels = torch.arange(60) % 3
    values = torch.cat([torch.eye(3)[labels], torch.ones(60, 1)], dim=1)
    assert linear_probe(Features(values, labels), Features(values, labels), 3).accuracy == 100
    # Classes of one image choose no strength.
    few = Features(torch.eye(3), torch.arange(3))
    assert linear_probe(few, few, 3).accuracy == 100
