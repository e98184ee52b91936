"""Terms of running statistics: what layers of several depths are normalised by, fitted while they train."""

import numpy as np
import pytest
import torch

from tests.models.test_families import EXAMPLES, a_learngene
from tleg.learngene.basis import Basis, parse_basis
from tleg.models.architecture import describe, timm_family_of
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.running_terms import MOMENTUM, RunningTerms, values_inside

NAMES = ("bn.running_mean", "bn.running_var")


def running(basis: Basis) -> RunningTerms:
    rows = torch.tensor(basis.coefficients(2 * basis.terms), dtype=torch.float32)
    return RunningTerms(dict.fromkeys(NAMES, basis.terms), dict.fromkeys(NAMES, 3), rows)


def measured(mean: torch.Tensor, variance: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """What batch norms make of statistics that begin at zero."""
    pairs = zip(mean, variance, strict=True)
    return [{NAMES[0]: MOMENTUM * one, NAMES[1]: MOMENTUM * other} for one, other in pairs]


def rows_of(basis: Basis, depth: int) -> torch.Tensor:
    return torch.tensor(basis.coefficients(depth), dtype=torch.float32)


def test_they_begin_as_those_of_a_batch_norm() -> None:
    for layer in running(Basis()).layers(rows_of(Basis(), 3)):
        assert torch.equal(layer[NAMES[0]], torch.zeros(3))
        assert torch.equal(layer[NAMES[1]], torch.ones(3))


@pytest.mark.parametrize("text", ["linear", "chebyshev:2", "piecewise:3"])
def test_layers_of_several_depths_are_fitted_together(text: str) -> None:
    basis = parse_basis(text)
    own, generator = running(basis), torch.Generator().manual_seed(0)
    depths = {depth: torch.rand(depth, 3, generator=generator) for depth in (4, 6, 9)}
    for step in range(3000):
        depth = (4, 6, 9)[step % 3]
        own.move(rows_of(basis, depth), measured(depths[depth], 0.01 + depths[depth]))
    rows = torch.cat([rows_of(basis, depth) for depth in depths])
    seen = torch.cat(list(depths.values()))
    for name, values in zip(NAMES, (seen, (0.01 + seen).log()), strict=True):
        best = torch.linalg.lstsq(rows, values).solution
        # The last steps count a little more than those before.
        far, least = (float((rows @ terms - values).square().sum()) for terms in (own.terms(name), best))
        assert far < 1.02 * least + 1e-6, name
    assert all((layer[NAMES[1]] > 0).all() for layer in own.layers(rows_of(basis, 100)))


def test_what_a_depth_does_not_tell_stays() -> None:
    basis = parse_basis("piecewise:2")
    own = running(basis)
    own.put(NAMES[0], torch.tensor([[1.0] * 3, [2.0] * 3]))
    for _ in range(200):
        own.move(rows_of(basis, 1), measured(torch.full((1, 3), 5.0), torch.ones(1, 3)))
    assert own.terms(NAMES[0])[0] == pytest.approx(torch.full((3,), 5.0), abs=1e-3)
    assert own.terms(NAMES[0])[1] == pytest.approx(torch.full((3,), 2.0), abs=1e-3)
    with pytest.raises(RuntimeError, match=r"has shape \[1, 3\] instead of \[2, 3\]"):
        own.put(NAMES[0], torch.zeros(1, 3))


def test_state_has_all_that_the_next_step_needs() -> None:
    basis, generator = Basis(), torch.Generator().manual_seed(0)
    whole, resumed = running(basis), running(basis)
    steps = [measured(torch.rand(3, 3, generator=generator), torch.rand(3, 3, generator=generator)) for _ in range(4)]
    for step in steps[:2]:
        whole.move(rows_of(basis, 3), step)
    resumed.load_state_dict(whole.state_dict(), strict=True)
    for step in steps[2:]:
        whole.move(rows_of(basis, 3), step)
        resumed.move(rows_of(basis, 3), step)
    assert all(torch.equal(whole.terms(name), resumed.terms(name)) for name in NAMES)


def test_after_training_a_layer_is_normalised_as_it_was_in_training() -> None:
    torch.manual_seed(0)
    model = AuxiliaryModel(describe(*EXAMPLES["xcit"], 5), Basis())
    images, rows = torch.randn(16, 3, 32, 32), model.coefficients(2)
    with torch.no_grad():
        before = model.eval()(images, rows)
        for _ in range(60):
            trained = model.train()(images, rows)
        after = model.eval()(images, rows)
    # The variance that is kept is that of a sample, so a little is between them.
    assert float((after - trained).abs().max()) < 0.05 * float((before - trained).abs().max())


def test_terms_of_a_block_are_its_parameters_and_statistics() -> None:
    family = timm_family_of(describe(*EXAMPLES["xcit"]))
    learngene = a_learngene(family)
    values = values_inside(family.blocks(learngene.expand(1), 0)[0])
    assert values.keys() == {name.removeprefix("blocks.") for name in learngene.tensors if family.is_block(name)}
    for name, value in values.items():
        assert value.detach().numpy() == pytest.approx(learngene.tensors[f"blocks.{name}"][0], abs=1e-5), name


def test_statistics_that_are_missing_are_named() -> None:
    learngene = a_learngene(timm_family_of(describe(*EXAMPLES["xcit"])))
    model = AuxiliaryModel.from_learngene(learngene)
    name = "blocks.local_mp.bn.running_var"
    assert np.array_equal(model.tensors()[name], learngene.tensors[name])
    with pytest.raises(RuntimeError, match=f"'{name}' is missing"):
        model.load_tensors({key: values for key, values in learngene.tensors.items() if key != name})
