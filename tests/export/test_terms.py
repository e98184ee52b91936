"""Layers made from terms in a graph are those of expansion, to the bit."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tleg.errors import ExportError
from tleg.export.formats import Arithmetic
from tleg.export.onnx.graph import Graph
from tleg.export.onnx.terms import Terms
from tleg.learngene.basis import Basis, parse_basis
from tleg.learngene.expansion import expand_parameter

Values = np.ndarray[Any, Any]
BASES = ("linear", "polynomial:3", "chebyshev:3", "cosine:2", "piecewise:3")
coefficient = st.one_of(st.sampled_from((0.0, 1.0)), st.floats(-2, 2, width=32))


def run(graph: Graph, names: list[str], shape: tuple[int, ...]) -> list[Values]:
    """What a graph without inputs computes: values of a shape."""
    outputs = [f"output{index}" for index in range(len(names))]
    nodes = [
        *graph.nodes,
        *(helper.make_node("Identity", [name], [out]) for name, out in zip(names, outputs, strict=True)),
    ]
    body = helper.make_graph(
        nodes,
        "terms",
        [],
        [helper.make_tensor_value_info(name, graph.onnx_type, shape) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in graph.initializers.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    found: Any = ReferenceEvaluator(model).run(None, {})
    return list(found)


@given(
    rows=st.integers(1, 4).flatmap(
        lambda terms: st.lists(st.lists(coefficient, min_size=terms, max_size=terms), min_size=1, max_size=5)
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_layers_are_those_of_expansion(rows: list[list[float]], seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((len(rows[0]), 3, 2), dtype=np.float32)
    graph = Graph("float32")
    terms = Terms(graph, "weight", values, rows)
    found = run(graph, [terms.layer(index, f"{index}.weight") for index in range(len(rows))], (3, 2))
    assert np.array_equal(np.stack(found), expand_parameter(values, rows))


@given(st.sampled_from(BASES).map(parse_basis), st.integers(1, 12), st.sampled_from(("float32", "float16")))
def test_every_basis_and_only_the_terms_that_a_layer_has(basis: Basis, depth: int, precision: Arithmetic) -> None:
    values = np.random.default_rng(depth).standard_normal((basis.terms, 4), dtype=np.float32)
    rows = basis.coefficients(depth)
    graph = Graph(precision)
    terms = Terms(graph, "weight", values, rows)
    names = [terms.layer(index, f"{index}.weight") for index in range(depth)]
    kept = values.astype(precision).astype(np.float32)
    assert np.array_equal(np.stack(run(graph, names, (4,))), expand_parameter(kept, rows).astype(precision))
    if basis.terms > 1:
        used = {f"weight.term{k}" for k in range(basis.terms) if any(row[k] for row in rows)}
        assert {name for name in graph.initializers if name.startswith("weight")} == used


def test_a_single_term_is_every_layer() -> None:
    graph = Graph("float32")
    terms = Terms(graph, "weight", np.ones((1, 3), np.float32), [(1.0, 0.0), (1.0, 0.5)])
    assert [terms.layer(index, f"{index}.weight") for index in range(2)] == ["weight", "weight"]
    assert list(graph.initializers) == ["weight"]
    assert not graph.nodes


def test_layers_beyond_the_range_of_float16_are_refused_by_name() -> None:
    with pytest.raises(
        ExportError,
        match=r"weight for layer \d+ of \d+ holds 80,000 and float16",
    ):
        Terms(Graph("float16"), "weight", np.full((2, 1), 40_000, np.float32), [(1.0, 0.0), (1.0, 1.0)])
