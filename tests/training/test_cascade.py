"""Cascades: which depth answers, what that costs, and that asking one depth after another gives what all together say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tleg.errors import DataError
from tleg.training.accuracy import Predictor
from tleg.training.cascade import THRESHOLDS, answer, rows_of, stopping_places
from tleg.training.outputs import Half, Outputs


def predictor(logits: Tensor, seen: list[int]) -> Predictor:
    """A model that looks its outputs up: an image is its own number."""

    def predict(pixels: Tensor) -> Tensor:
        seen.append(len(pixels))
        return logits[pixels[:, 0, 0, 0].long()]

    return predict


def images(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)[:, None, None, None]


def test_the_first_that_is_sure_answers_or_else_the_last() -> None:
    confidences = torch.tensor([[0.9, 0.8, 0.2, 0.9], [0.1, 0.9, 0.3, 0.95], [0.1, 0.1, 0.1, 0.99]])
    assert stopping_places(confidences, 0.9).tolist() == [0, 1, 2, 0]
    assert stopping_places(confidences, 0.0).tolist() == [0, 0, 0, 0]
    assert stopping_places(confidences, 1.0).tolist() == [2, 2, 2, 2]


@given(seed=st.integers(0, 2**31), count=st.integers(1, 30), depths=st.integers(1, 4), threshold=st.floats(0, 1))
def test_asking_in_turn_is_asking_all_and_choosing(seed: int, count: int, depths: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = [3 * torch.randn(count, 5, generator=generator) for _ in range(depths)]
    temperatures = [0.5 + 0.3 * place for place in range(depths)]
    seen = [list[int]() for _ in range(depths)]
    predictors = [predictor(each, asked) for each, asked in zip(outputs, seen, strict=True)]
    logits, places = answer(predictors, temperatures, threshold, images(count))
    scaled = torch.stack([each.double() / value for each, value in zip(outputs, temperatures, strict=True)])
    expected = stopping_places(scaled.softmax(2).amax(2), threshold)
    assert places.tolist() == expected.tolist()
    assert torch.equal(logits, scaled[expected, torch.arange(count)])
    # A depth is asked for the images alone that none before it was sure of, and not at all where there are none.
    left = [int((expected >= place).sum()) for place in range(depths)]
    assert [sum(asked) for asked in seen] == left
    assert all(len(asked) == (number > 0) for asked, number in zip(seen, left, strict=True))


def test_outputs_that_are_not_finite_end_the_asking() -> None:
    logits, places = answer(
        [predictor(torch.full((2, 3), torch.nan), []), predictor(torch.zeros(2, 3), [])], [1.0, 1.0], 0.9, images(2)
    )
    assert places.tolist() == [0, 0]
    assert logits.isnan().all()


def test_images_cost_all_depths_that_they_went_through() -> None:
    sure, unsure = [9.0, 0.0], [0.1, 0.0]
    first = torch.tensor([sure, sure, sure, unsure])
    second = torch.tensor([sure, unsure, unsure, [0.0, 9.0]])
    labels = torch.tensor([0, 0, 1, 1])
    half = Half({3: first, 8: second}, labels)
    for row in rows_of(half, (3, 8), (1.0, 1.0), (30, 80)):
        # Two classes always reach 0.5: nobody is asked twice.
        everybody = row.threshold <= 0.5
        assert row.early == (1 if everybody else 0.75)
        assert row.blocks == (3 if everybody else (3 * 3 + 11) / 4)
        assert row.macs == (30 if everybody else (3 * 30 + 110) / 4)
        assert row.top1 == (50 if everybody else 75)
    assert [row.threshold for row in rows_of(half, (3, 8), (1.0, 1.0), None)] == list(THRESHOLDS)
    assert {row.macs for row in rows_of(half, (3, 8), (1.0, 1.0), None)} == {None}
    # Made less sure by its temperature, the shallow depth never answers.
    cold = rows_of(half, (3, 8), (100.0, 1.0), None)[-1]
    assert (cold.early, cold.blocks) == (0, 11)
    assert cold.top1 == pytest.approx(75)


def test_halves_are_drawn_by_their_seed() -> None:
    labels = torch.arange(11)
    seen = Outputs({2: labels[:, None].float()}, labels, {})
    first, second = seen.halves(4)
    assert (len(first), len(second)) == (5, 6)
    assert sorted([*first.labels.tolist(), *second.labels.tolist()]) == list(range(11))
    assert torch.equal(first.logits[2][:, 0].long(), first.labels)
    assert torch.equal(seen.halves(4)[0].labels, first.labels)
    assert not torch.equal(seen.halves(5)[0].labels, first.labels)
    with pytest.raises(DataError, match="one image cannot be cut"):
        Outputs({2: labels[:1, None].float()}, labels[:1], {}).halves(0)
