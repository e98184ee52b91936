"""The expected calibration error is its formula, and the temperature the one with the least negative log-likelihood."""

import math
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tleg.errors import TlegError
from tleg.training.calibration import calibration_error, fit_temperature, reliability

SEEDS = st.integers(0, 2**31)
ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


def by_formula(answers: list[tuple[float, bool]], bins: int) -> float:
    """Guo et al. 2017, equations 2 and 3: sum_m |B_m| / n |acc(B_m) - conf(B_m)|."""
    total = 0.0
    for number in range(1, bins + 1):
        low, high = (number - 1) / bins, number / bins
        # Of a confidence of 0, which no softmax of a largest output has, the first bin takes care.
        inside = [(value, right) for value, right in answers if low < value <= high or (value == 0 and number == 1)]
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(value for value, _ in inside) / len(inside)
            total += len(inside) / len(answers) * abs(accuracy - confidence)
    return 100 * total


@given(answers=ANSWERS, bins=st.sampled_from([1, 2, 4, 8, 16]))
def test_the_error_is_its_formula(answers: list[tuple[float, bool]], bins: int) -> None:
    confidence = torch.tensor([value for value, _ in answers], dtype=torch.float64)
    right = torch.tensor([good for _, good in answers])
    assert calibration_error(confidence, right, bins) == pytest.approx(by_formula(answers, bins), abs=1e-9)


@given(seed=SEEDS, count=st.integers(1, 400))
def test_it_is_its_formula_with_15_bins_for_what_models_give(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 5, generator=generator)
    labels = torch.randint(5, (count,), generator=generator)
    found = reliability(logits, labels, 0.7)
    values, predicted = (logits.double() / 0.7).softmax(1).max(1)
    answers = list(zip(values.tolist(), (predicted == labels).tolist(), strict=True))
    assert found.ece == pytest.approx(by_formula(answers, 15), abs=1e-9)
    assert found.top1 == pytest.approx(100 * sum(right for _, right in answers) / count)
    assert found.nll == pytest.approx(F.cross_entropy(logits.double() / 0.7, labels).item())


def test_the_error_of_a_model_that_is_as_sure_as_it_is_right_is_0() -> None:
    right = torch.tensor([True] * 3 + [False])
    assert calibration_error(torch.full((4,), 0.75), right) == 0
    assert calibration_error(torch.full((4,), 1.0), right) == 25
    # Two bins whose errors are of opposite sign do not cancel.
    assert calibration_error(torch.tensor([0.5, 1.0]), torch.tensor([True, False])) == pytest.approx(75)


@pytest.mark.parametrize("temperature", [0.2, 0.72, 1.0, 3.5, 20.0])
def test_a_known_temperature_is_recovered_to_a_percent(temperature: float) -> None:
    generator = torch.Generator().manual_seed(7)
    exact = 2 * torch.randn(120_000, 10, generator=generator, dtype=torch.float64)
    labels = exact.softmax(1).multinomial(1, generator=generator)[:, 0]
    assert fit_temperature([exact * temperature], labels) == pytest.approx(temperature, rel=0.01)
    assert reliability(exact * temperature, labels, temperature).ece < 1


@given(seed=SEEDS, scale=st.floats(0.1, 10), models=st.integers(1, 3))
def test_no_other_temperature_is_more_likely(seed: int, scale: float, models: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = [scale * torch.randn(80, 4, generator=generator) for _ in range(models)]
    labels = sum(logits).argmax(1)  # type: ignore[union-attr]
    wrong = torch.rand(80, generator=generator) < 0.3
    labels = torch.where(wrong, torch.randint(4, (80,), generator=generator), labels)
    with suppress(TlegError):  # Where none is best, as a test below says.
        compare_with_others(logits, labels)


def compare_with_others(logits: list[torch.Tensor], labels: torch.Tensor) -> None:
    best = fit_temperature(logits, labels)

    def nll(temperature: float) -> float:
        return sum(F.cross_entropy(each.double() / temperature, labels).item() for each in logits)

    assert 0.01 < best < 100
    for other in (best * 0.5, best * 0.99, best * 1.01, best * 2, 0.01, 100):
        assert nll(best) <= nll(other) + 1e-12


def test_the_order_of_outputs_stays() -> None:
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    labels = logits.argmax(1).roll(7)
    assert reliability(logits, labels, 5.0).top1 == reliability(logits, labels).top1


def test_where_no_temperature_is_best_it_says_why() -> None:
    logits = torch.eye(4) * 3
    with pytest.raises(TlegError, match=r"from 0\.01 on is best at depth 3: .* are right for each of these 4 images"):
        fit_temperature([logits], torch.arange(4), " at depth 3")
    with pytest.raises(TlegError, match="up to 100 is best: the outputs say next to nothing of the classes of these 4"):
        fit_temperature([logits], torch.arange(4).roll(1))


def test_outputs_that_lie_far_apart_are_no_trouble() -> None:
    logits = torch.tensor([[3e4, 0.0], [0.0, 3e4], [3e4, 0.0], [0.0, 3e4]])
    with pytest.raises(TlegError, match="next to nothing"):
        fit_temperature([logits], torch.tensor([1, 0, 1, 0]))
    # Right three times in four: T = 3e4 / ln 3 is beyond what a temperature may be.
    with pytest.raises(TlegError, match="no temperature up to 100 is best"):
        fit_temperature([logits], torch.tensor([0, 1, 0, 0]))
    found = fit_temperature([logits / 1e4], torch.tensor([0, 1, 0, 0]))
    assert found == pytest.approx(3 / math.log(3), rel=1e-6)
