"""Bases: coefficients, parsing, what is refused."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import BasisError, DepthError
from tleg.learngene.basis import (
    BASIS_NAMES,
    MAX_DEPTH,
    PARTS,
    Basis,
    check_depth,
    parse_basis,
)
from tleg.learngene.basis_functions import MAX_TERMS
from tleg.learngene.structure import PLAIN_VIT
from tleg.serialize import decode, encode

depths = st.integers(1, 96)
parts = st.lists(st.sampled_from(PARTS), min_size=1, unique=True).map(tuple)
boundaries = st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), min_size=1, max_size=10, unique=True).map(
    lambda edges: tuple(sorted(edges))
)


@st.composite
def bases(draw: st.DrawFn) -> Basis:
    name = draw(st.sampled_from(BASIS_NAMES))
    expanded = draw(parts)
    if name == "linear":
        return Basis(expanded=expanded)
    if name == "piecewise":
        return Basis(name, boundaries=draw(boundaries), expanded=expanded)
    return Basis(name, degree=draw(st.integers(1, MAX_TERMS - 1)), expanded=expanded)


@given(bases(), depths)
def test_coefficients_have_a_row_for_each_layer(basis: Basis, depth: int) -> None:
    rows = basis.coefficients(depth)
    assert len(rows) == depth
    assert {len(row) for row in rows} == {basis.terms}
    assert all(math.isfinite(value) and abs(value) <= 1 for row in rows for value in row)


@given(depths)
def test_linear_is_the_paper(depth: int) -> None:
    assert Basis().coefficients(depth) == tuple((1.0, layer / depth) for layer in range(depth))


@given(boundaries, depths)
def test_piecewise_rows_choose_one_stage(edges: tuple[float, ...], depth: int) -> None:
    rows = Basis("piecewise", boundaries=edges).coefficients(depth)
    assert all(sorted(row) == [0.0] * len(edges) + [1.0] for row in rows)
    stages = [row.index(1.0) for row in rows]
    assert stages == sorted(stages)


def test_equal_stages() -> None:
    rows = parse_basis("piecewise:4").coefficients(8)
    assert [row.index(1.0) for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_each_layer_is_one_of_the_terms_of_stages_alone() -> None:
    assert parse_basis("piecewise:3").selected(6) == (0, 0, 1, 1, 2, 2)
    assert parse_basis("piecewise:3").selected(2) == (0, 1)
    assert parse_basis("linear").selected(6) is None
    assert parse_basis("cosine:2").selected(1) is None


def test_polynomial_of_degree_one_is_linear() -> None:
    assert Basis("polynomial", degree=1).coefficients(12) == Basis().coefficients(12)


def test_cosine() -> None:
    rows = Basis("cosine", degree=2).coefficients(4)
    for layer, row in enumerate(rows):
        assert row == pytest.approx([1, math.cos(math.pi * layer / 4), math.cos(2 * math.pi * layer / 4)])


@given(bases())
def test_survives_json(basis: Basis) -> None:
    assert decode(Basis, json.loads(json.dumps(encode(basis))), "basis") == basis


@given(bases())
def test_formula_is_one_line_that_names_every_term(basis: Basis) -> None:
    formula = basis.formula
    assert "\n" not in formula
    if basis.name != "piecewise":
        assert formula.count("Theta_") == basis.terms


@pytest.mark.parametrize(
    ("text", "basis"),
    [
        ("linear", Basis()),
        ("polynomial:3", Basis("polynomial", degree=3)),
        ("polynomial", Basis("polynomial", degree=2)),
        ("cosine:5", Basis("cosine", degree=5)),
        ("piecewise:2", Basis("piecewise", boundaries=(0.5,))),
        ("piecewise:0.2,0.7", Basis("piecewise", boundaries=(0.2, 0.7))),
    ],
)
def test_parsing(text: str, basis: Basis) -> None:
    assert parse_basis(text) == basis


@given(st.text(max_size=30))
def test_parsing_anything_gives_a_basis_or_an_error(text: str) -> None:
    for candidate in (text, f"piecewise:{text}", f"cosine:{text}"):
        with contextlib.suppress(BasisError):
            assert isinstance(parse_basis(candidate), Basis)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lin",
        "linear:2",
        "polynomial:0",
        "polynomial:64",
        "polynomial:x",
        "cosine:-1",
        "piecewise",
        "piecewise:1",
        "piecewise:65",
        "piecewise:0.5,0.5",
        "piecewise:0.7,0.2",
        "piecewise:nan,0.5",
        "piecewise:0.0",
        "piecewise:1.5",
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BasisError):
        parse_basis(text)


def test_an_unknown_basis_has_a_suggestion() -> None:
    with pytest.raises(BasisError, match="Did you mean 'cosine'"):
        parse_basis("cosin:3")


def test_expanded_parts() -> None:
    basis = Basis(expanded=("mlp",))
    names = ("mlp.fc1.weight", "ls2.gamma", "attn.qkv.bias", "norm2.weight", "attn.q_norm.weight")
    assert [PLAIN_VIT.part_of(name) for name in names] == ["mlp", "mlp", "attention", "norm", "attention"]
    assert [basis.terms_of(part) for part in PARTS] == [1, 2, 1]
    for wrong in ((), ("mlp", "mlp"), ("head",)):
        with pytest.raises(BasisError):
            Basis(expanded=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("depth", [0, -1, MAX_DEPTH + 1, 10**9, True, 2.0, "3", None])
def test_depths_out_of_range_are_refused(depth: object) -> None:
    with pytest.raises(DepthError):
        check_depth(depth)
