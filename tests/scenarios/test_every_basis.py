"""Every basis that is registered goes through all that is made of one: a step of training, expansion, every export.

Also one that is no member, whose first function is not 1: what trains must be what is exported, whatever the functions are.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.export.conftest import noise
from tleg.errors import BasisError
from tleg.export.build import build_exports
from tleg.export.plan import BuildRequest
from tleg.learngene.basis import BASIS_NAMES, Basis, parse_basis
from tleg.learngene.basis_functions import FLOATS, Functions, functions_called, grammar, register, unregister
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.learngene import Learngene
from tleg.recipes.learning import LearnRecipe


class Bernstein(Functions):
    """Not one of tleg's: C(n, k) t^k (1 - t)^(n - k), none of which is 1, and all of which add up to it."""

    name, takes, example, default_degree = "bernstein", "N", "bernstein:2", 2

    def phi(self, t: Any, arithmetic: Any, degree: int, boundaries: Sequence[float]) -> Sequence[Any]:
        return [math.comb(degree, k) * (t**k * (1 - t) ** (degree - k)) for k in range(degree + 1)]

    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        return [f"{math.comb(degree, k)} t^{k} (1 - t)^{degree - k}" for k in range(degree + 1)]

    def one(self, degree: int, boundaries: Sequence[float]) -> tuple[float, ...]:
        return (1.0,) * (degree + 1)


class Waves(Functions):
    """Not one of tleg's: everything that arithmetic has, a first function that is 1 for some layers alone, and -t."""

    name, takes, example = "waves", "", "waves"

    def phi(self, t: Any, arithmetic: Any, degree: int, boundaries: Sequence[float]) -> Sequence[Any]:
        step = arithmetic.step(t, 0.4)
        return [1 - step, arithmetic.cos(3 * t) * step, (2 - (-t)) * 0.5 + step, step]

    def count(self, degree: int, boundaries: Sequence[float]) -> int:
        return 4

    def factors(self, degree: int, boundaries: Sequence[float]) -> Sequence[str]:
        return ["(t < 0.4)", "(t >= 0.4) cos(3t)", "(1 + t/2 + (t >= 0.4))", "(t >= 0.4)"]

    def one(self, degree: int, boundaries: Sequence[float]) -> tuple[float, ...]:
        return (1.0, 0.0, 0.0, 1.0)


OTHERS = (Bernstein, Waves)
MEMBERS = [functions_called(name).example for name in BASIS_NAMES]


@pytest.fixture(params=[*MEMBERS, *(kind.example for kind in OTHERS)])
def basis(request: pytest.FixtureRequest) -> Iterator[Basis]:
    """Each basis; those that are no members are known while the test runs."""
    others = [kind for kind in OTHERS if kind.example == request.param]
    for kind in others:
        register(kind())
    yield parse_basis(request.param)
    for kind in others:
        unregister(kind.name)


def a_step_of_training(learngene: Learngene) -> Learngene:
    """The learngene after a step of its auxiliary model, from weights that training starts from."""
    torch.manual_seed(3)
    model = AuxiliaryModel(learngene.header.architecture, learngene.header.basis).train()
    images = torch.from_numpy(noise(learngene, 4))
    before = {name: value.copy() for name, value in model.tensors().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for depth in (3, 5):
        loss = torch.nn.functional.cross_entropy(model(images, model.coefficients(depth)), torch.arange(4))
        loss.backward()
    optimizer.step()
    after = model.tensors()
    # Every term learns: what none of the layers uses would be a term too many.
    for name, values in after.items():
        if name.startswith("blocks.mlp.") and name.endswith("weight"):
            changed = [bool((new != old).any()) for new, old in zip(values, before[name], strict=True)]
            assert all(changed), name
    return Learngene(learngene.header, after)


def test_a_basis_trains_what_it_expands_and_exports(basis: Basis, tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = a_step_of_training(tiny_learngene(basis=basis))
    images = torch.from_numpy(noise(learngene))
    elastic, auxiliary = learngene.elastic(), AuxiliaryModel.from_learngene(learngene).eval()
    with torch.inference_mode():
        for depth in (1, 2, 3, 5, 16):
            expected = learngene.expand(depth)(images)
            assert torch.equal(elastic(images, depth), expected), depth
            assert torch.equal(auxiliary(images, auxiliary.coefficients(depth)), expected), depth
    path = tmp_path / "it.safetensors"
    learngene.save(path)
    kinds: tuple[str, ...] = ("pytorch", "onnx", "onnx-compact", "onnx-elastic")
    built = build_exports(BuildRequest(str(path), kinds, (1, 5), tmp_path / "exports"))
    assert len(built) == 7
    for item in built:
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5
        assert item.manifest.verification.argmax_agreement == 1


def test_layers_start_as_blocks_do(basis: Basis, tiny_learngene: Any) -> None:
    """Whatever the functions are: biases at 0, norms at 1, matrices of about the size that timm gives them."""
    torch.manual_seed(1)
    model = AuxiliaryModel(tiny_learngene(basis=basis).header.architecture, basis)
    for layer in model.expand(model.coefficients(8)):
        assert torch.allclose(layer["norm1.weight"], torch.ones(48), atol=1e-6)
        assert torch.allclose(layer["mlp.fc1.bias"], torch.zeros(192), atol=1e-6)
        assert 0.2 < float(layer["mlp.fc1.weight"].detach().std() / model.terms["mlp/fc1/weight"][0].detach().std()) < 3


def test_functions_are_the_same_for_floats_tensors_and_graphs(basis: Basis, tmp_path: Path) -> None:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    from tleg.export.onnx.elastic import GraphArithmetic
    from tleg.export.onnx.graph import Graph

    class Tensors:
        def cos(self, value: torch.Tensor, /) -> torch.Tensor:
            return value.cos()

        def step(self, value: torch.Tensor, edge: float, /) -> torch.Tensor:
            return (value >= edge).to(value.dtype)

    positions = [layer / 30 for layer in range(30)]
    floats = np.array([basis.functions(t, FLOATS) for t in positions])
    values = basis.functions(torch.tensor(positions, dtype=torch.float64), Tensors())
    tensors = torch.stack([torch.as_tensor(value, dtype=torch.float64).expand(30) for value in values], 1).numpy()
    assert np.allclose(tensors, floats, rtol=0, atol=1e-14)

    graph = Graph("float32")
    arithmetic = GraphArithmetic(graph, "basis")
    names = [arithmetic.as_float32(value) for value in basis.functions(arithmetic.position("t"), arithmetic)]
    graph.add("Concat", names, "found", axis=1)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "functions",
            [helper.make_tensor_value_info("t", TensorProto.DOUBLE, [1, 1])],
            [helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, basis.terms])],
            [onnx.numpy_helper.from_array(each, name) for name, each in graph.initializers.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {"t": np.array([[t]])})[0] for t in positions])
    assert np.abs(found - floats).max() < 1e-6


def test_what_is_said_of_a_basis_follows_from_its_functions(basis: Basis) -> None:
    rows = np.array(basis.coefficients(60))
    assert rows.shape == (60, basis.terms)
    assert basis.starts_with_one == bool((rows[:, 0] == 1).all())
    assert np.allclose(rows @ np.array(basis.one), 1, atol=1e-12)
    assert basis.is_line == np.array_equal(rows, Basis().coefficients(60))
    assert basis.formula.endswith("t = l / L, l = 0..L-1")
    assert np.linalg.matrix_rank(rows) == basis.terms, "each term says something that the others do not"
    text = basis.kind.example
    assert LearnRecipe(architecture="x", data="x", basis=text).basis_for() == basis
    assert basis.name in grammar()


@given(st.integers(1, 63), st.integers(1, 96))
def test_chebyshev_spans_the_polynomials_by_functions_of_their_own_size(degree: int, depth: int) -> None:
    rows = np.array(Basis("chebyshev", degree).coefficients(depth))
    x = 2 * np.arange(depth) / depth - 1
    assert np.allclose(rows, np.cos(np.outer(np.arccos(x), np.arange(degree + 1))), atol=1e-9)
    assert np.abs(rows).max() <= 1
    if degree <= 5 and depth > degree:
        monomials = np.array(Basis("polynomial", degree).coefficients(depth))
        assert np.linalg.matrix_rank(np.hstack([rows, monomials])) == degree + 1


@pytest.mark.parametrize("name", BASIS_NAMES)
def test_a_name_alone_means_the_same_in_python_and_on_the_command_line(name: str) -> None:
    if name != "piecewise":
        assert parse_basis(name) == Basis(name)
        assert Basis(name).degree == (1 if name == "linear" else 2)


def broken(**changes: Any) -> Functions:
    """Bernstein with something wrong."""
    broken: Functions = type("Broken", (Bernstein,), {"name": "broken", "example": "broken:2", **changes})()
    return broken


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (broken(one=Functions.one), "its function 1 is"),
        (broken(one=lambda *_: (1.0,)), "1 coordinates of the function 1"),
        (broken(factors=lambda *_: ["t"]), "3 functions have 1 names"),
        (broken(count=lambda *_: 4), "4"),
        (broken(phi=lambda self, t, *_: [t, 1 - t]), "there are 2 functions where it counts 3"),
        (broken(phi=lambda self, t, *_: [float("nan")] * 3), "its function 1 is nan"),
        (broken(selects=True), "a layer is more than one of its terms at"),
        (broken(example="bernstein:2"), "its example is 'bernstein:2'"),
        (broken(name="linear", example="linear"), "there is a basis 'linear' already"),
    ],
)
def test_a_basis_that_does_not_hold_together_is_refused(kind: Functions, says: str) -> None:
    with pytest.raises(BasisError, match=says):
        register(kind)
    with pytest.raises(BasisError, match="unknown basis 'broken'"):
        Basis("broken")


def test_a_basis_that_is_not_known_is_an_error_everywhere(tiny_learngene: Any) -> None:
    register(Bernstein())
    basis = Basis("bernstein")
    learngene = tiny_learngene(basis=basis)
    unregister("bernstein")
    for use in (
        lambda: Basis("bernstein"),
        lambda: parse_basis("bernstein:2"),
        lambda: basis.formula,
        lambda: basis.terms,
        lambda: learngene.expand(2),
        lambda: learngene.elastic(),
    ):
        with pytest.raises(BasisError, match="unknown basis 'bernstein': it must be one of linear"):
            use()
