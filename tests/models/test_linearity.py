"""How linear layers are in their position: closed forms, what random layers get, and what must not matter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tleg.errors import InputError
from tleg.learngene.basis import parse_basis
from tleg.models.linearity import (
    Fit,
    Orders,
    analyse,
    cosines,
    fit_basis,
    gram_of_layers,
    linear_cka,
    principal_components,
    rank_correlation,
)

Array = NDArray[np.float64]


def fit(layers: Array, basis: str, orders: Orders | None = None) -> Fit:
    return fit_basis(gram_of_layers(list(layers)), parse_basis(basis), basis, orders or Orders(len(layers)))


def positions(layers: int) -> Array:
    return np.arange(layers) / layers


def made_of(functions: list[Callable[[Array], Array]], layers: int, seed: int = 0, values: int = 200) -> Array:
    """Layers that are exactly a sum of functions of the position, with random terms."""
    terms = np.random.default_rng(seed).normal(size=(len(functions), values))
    phi = np.stack([function(positions(layers)) + np.zeros(layers) for function in functions], axis=1)
    product: Array = phi @ terms
    return product


ONE: Callable[[Array], Array] = np.ones_like


def test_the_rule_of_the_paper_is_a_line() -> None:
    layers = made_of([ONE, lambda t: t], 12)
    found = fit(layers, "linear")
    assert found.r2 == pytest.approx(1, abs=1e-12)
    assert found.chance == pytest.approx(1 / 11)
    assert found.z is not None
    assert found.z > 5
    assert fit(layers, "chebyshev:3").r2 == pytest.approx(1, abs=1e-12)


def test_a_quadratic_is_explained_by_degree_2_and_a_line_explains_its_linear_part() -> None:
    layers = made_of([ONE, lambda t: t, lambda t: t**2], 12)
    assert fit(layers, "chebyshev:2").r2 == pytest.approx(1, abs=1e-12)
    assert fit(layers, "polynomial:2").r2 == pytest.approx(1, abs=1e-12)
    assert fit(layers, "linear").r2 < 0.999
    # Without a linear part about the middle of the layers a line explains nothing.
    middle = positions(12).mean()
    assert fit(made_of([ONE, lambda t: (t - middle) ** 2], 12), "linear").r2 == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("basis", ["linear", "chebyshev:2", "chebyshev:3", "cosine:2", "piecewise:3"])
def test_it_is_least_squares(basis: str) -> None:
    layers = np.random.default_rng(3).normal(size=(9, 50)) + 7
    coefficients = np.array(parse_basis(basis).coefficients(9))
    terms, *_ = np.linalg.lstsq(coefficients, layers, rcond=None)
    residual = np.sum((layers - coefficients @ terms) ** 2)
    expected = 1 - residual / np.sum((layers - layers.mean(0)) ** 2)
    assert fit(layers, basis).r2 == pytest.approx(expected, abs=1e-12)


def test_random_layers_get_what_shuffled_ones_get() -> None:
    orders, z = Orders(12), []
    for seed in range(40):
        found = fit(np.random.default_rng(seed).normal(size=(12, 4000)), "linear", orders)
        assert found.r2 == pytest.approx(1 / 11, abs=0.02)
        assert found.z is not None
        z.append(found.z)
    assert abs(np.mean(z)) < 0.6
    assert 0.5 < np.std(z) < 1.6


@pytest.mark.parametrize(("basis", "functions"), [("linear", 2), ("chebyshev:2", 3), ("chebyshev:3", 4), ("piecewise:4", 4)])
def test_chance_is_the_mean_over_all_orders(basis: str, functions: int) -> None:
    layers = made_of([ONE, lambda t: t, lambda t: np.sin(9 * t)], 10)
    found = fit(layers, basis, Orders(10, count=4000))
    assert found.chance == pytest.approx((functions - 1) / 9)
    assert found.shuffled.mean == pytest.approx(found.chance, abs=0.02)


def test_more_functions_than_layers_explain_everything_and_say_nothing() -> None:
    found = fit(np.random.default_rng(0).normal(size=(3, 20)), "chebyshev:3")
    assert found.r2 == pytest.approx(1)
    assert found.chance == 1
    assert found.z is None
    assert found.shuffled.as_high == 100


def test_shuffles_are_the_same_every_time_and_others_with_another_seed() -> None:
    layers = np.random.default_rng(1).normal(size=(8, 30))
    assert fit(layers, "linear") == fit(layers, "linear")
    assert fit(layers, "linear").shuffled != fit(layers, "linear", Orders(8, seed=1)).shuffled


def test_a_gram_matrix_is_made_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = np.random.default_rng(0).normal(size=(5, 7, 11)).astype(np.float32)
    flat = layers.reshape(5, -1).astype(np.float64)
    flat -= flat.mean(0)
    expected = flat @ flat.T
    np.testing.assert_allclose(gram_of_layers(list(layers)), expected, rtol=1e-12, atol=1e-12)
    monkeypatch.setattr("tleg.models.linearity._AT_ONCE", 10)
    np.testing.assert_allclose(gram_of_layers(list(layers)), expected, rtol=1e-12, atol=1e-12)


def test_equal_layers_have_no_variance_to_explain() -> None:
    layers = [np.full((3, 5), 0.1, np.float32)] * 7
    gram = gram_of_layers(layers)
    assert not gram.any()
    found = analyse("norm1.weight", 15, gram, [("linear", parse_basis("linear"))], Orders(7), 0.0)
    assert (found.share, found.fits, found.components) == (0.0, (), None)
    assert np.array_equal(cosines(gram), np.eye(7))


def test_small_trends_beside_a_large_mean_are_seen() -> None:
    layers = 1e4 + 1e-6 * made_of([ONE, lambda t: t], 12)
    assert fit(layers, "linear").r2 > 0.99


@given(st.integers(3, 10), st.integers(0, 2**32), st.floats(1e-3, 1e3))
def test_rotations_scales_and_shifts_do_not_matter(layers: int, seed: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(layers, 8))
    rotation, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    moved = scale * values @ rotation + generator.normal(size=8)
    orders = Orders(layers, count=5)
    for basis in ("linear", "chebyshev:2"):
        one, other = fit(values, basis, orders), fit(moved, basis, orders)
        assert other.r2 == pytest.approx(one.r2, abs=1e-8)
        assert other.shuffled.mean == pytest.approx(one.shuffled.mean, abs=1e-8)
    before, after = (principal_components(gram_of_layers(list(each)), orders) for each in (values, moved))
    assert after.shares == pytest.approx(before.shares, abs=1e-8)
    outputs = [generator.normal(size=(20, 6)) for _ in range(2)]
    turn, _ = np.linalg.qr(generator.normal(size=(6, 6)))
    assert linear_cka([outputs[0], scale * outputs[1] @ turn + 3])[0, 1] == pytest.approx(
        linear_cka(outputs)[0, 1], abs=1e-8
    )


@given(st.integers(3, 12), st.integers(0, 2**32))
def test_shares_are_shares_and_larger_bases_explain_more(layers: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(layers, 15))
    found = [fit(values, basis).r2 for basis in ("linear", "chebyshev:2", "chebyshev:3")]
    assert 0 <= found[0] <= found[1] + 1e-12 <= found[2] + 2e-12 <= 1 + 2e-12


def test_the_first_component_orders_layers_on_a_line() -> None:
    gram = gram_of_layers(list(made_of([ONE, lambda t: -t], 12)))
    found = principal_components(gram, Orders(12))
    assert found.shares[0] == pytest.approx(1)
    assert len(found.shares) == 11
    assert found.order == pytest.approx(1)
    firsts = [first for first, _ in found.coordinates]
    assert firsts == sorted(firsts)
    assert np.sum(np.array(found.coordinates) ** 2) == pytest.approx(np.trace(gram))
    assert found.shuffled.mean == pytest.approx(0.24, abs=0.1)
    assert found.shuffled.as_high == 0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [9, 5, 2, -1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),
        ([1, 2, 2, 4], [1, 3, 2, 4], 0.9486832980505138),
        ([1, 1, 1], [1, 2, 3], 0.0),
    ],
)
def test_rank_correlation(first: list[float], second: list[float], expected: float) -> None:
    assert rank_correlation(np.array(first), np.array(second)) == pytest.approx(expected)


def plain_cka(one: Array, other: Array) -> float:
    """By its definition, with the biased estimate of HSIC."""
    one, other = one - one.mean(0), other - other.mean(0)
    return float(np.sum((one.T @ other) ** 2) / np.linalg.norm(one.T @ one) / np.linalg.norm(other.T @ other))


def test_cka_is_its_definition_where_there_are_many_samples() -> None:
    generator = np.random.default_rng(0)
    one = generator.normal(size=(1500, 6))
    other = one @ generator.normal(size=(6, 5)) + generator.normal(size=(1500, 5))
    found = linear_cka([one, other])
    assert found[0, 0] == pytest.approx(1)
    assert found[0, 1] == found[1, 0] == pytest.approx(plain_cka(one, other), abs=5e-3)


def test_cka_of_unrelated_outputs_is_about_0_with_few_samples() -> None:
    generator = np.random.default_rng(0)
    outputs = [generator.normal(size=(40, 400)) for _ in range(8)]
    found = linear_cka(outputs)
    assert abs(found[np.triu_indices(8, 1)].mean()) < 0.02
    assert plain_cka(outputs[0], outputs[1]) > 0.8


def test_cosines_are_those_of_deviations_from_the_mean() -> None:
    layers = np.random.default_rng(2).normal(size=(4, 9))
    deviations = layers - layers.mean(0)
    unit = deviations / np.linalg.norm(deviations, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(gram_of_layers(list(layers))), unit @ unit.T, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Orders(2), "any two lie on a line"),
        (lambda: Orders(5, count=1), "at least 2 shuffles"),
        (lambda: gram_of_layers([np.ones(3), np.array([1.0, np.nan, 2.0])]), "not finite"),
        (lambda: linear_cka([np.ones((3, 5))] * 2), "at least 4 tokens"),
    ],
)
def test_what_cannot_be_analysed_is_refused(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
