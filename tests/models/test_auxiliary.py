"""What an auxiliary model starts from."""

import pytest
import torch
from torch.nn import functional

from tleg.learngene.basis import parse_basis
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel

ARCHITECTURE = describe("vit_tiny_patch16_224", {"img_size": 28, "patch_size": 7, "embed_dim": 64, "num_heads": 2}, 10)
MATRIX = "mlp/fc1/weight"


def make(basis: str, term_scale: float = 1.0, matrices: str = "timm", seed: int = 0) -> AuxiliaryModel:
    torch.manual_seed(seed)
    return AuxiliaryModel(ARCHITECTURE, parse_basis(basis), term_scale, matrices)


def likeness(model: AuxiliaryModel, depth: int = 6) -> float:
    """The mean cosine between the matrices of two layers."""
    with torch.no_grad():
        layers = model.expand(model.coefficients(depth))
    vectors = functional.normalize(torch.stack([layer["mlp.fc1.weight"].flatten() for layer in layers]), dim=1)
    cosines = vectors @ vectors.T
    return float((cosines.sum() - depth) / (depth * (depth - 1)))


@pytest.mark.parametrize("basis", ["linear", "chebyshev:3", "cosine:2"])
def test_further_terms_begin_as_large_as_asked(basis: str) -> None:
    plain, scaled = make(basis), make(basis, 3.0)
    for key, values in plain.terms.items():
        expected = values.detach().clone()
        if values.dim() > 2:  # A stack of matrices.
            expected[1:] *= 3
        torch.testing.assert_close(scaled.terms[key].detach(), expected, rtol=0, atol=0)
    assert plain.terms[MATRIX].detach()[1].std().item() == pytest.approx(0.02, rel=0.05)


def test_stages_are_no_differences_between_layers() -> None:
    plain, scaled = make("piecewise:3"), make("piecewise:3", 3.0)
    assert all(torch.equal(values, scaled.terms[key]) for key, values in plain.terms.items())


def test_larger_terms_make_layers_unlike() -> None:
    alike = [likeness(make("chebyshev:1", scale)) for scale in (0.0, 1.0, 3.0)]
    assert alike[0] == pytest.approx(1.0, abs=1e-5)
    # By the coefficients x of the second term the cosine of two layers is (1 + s^2 x y) / sqrt((1 + s^2 x^2)(1 + s^2 y^2)).
    positions = torch.arange(6) / 6 * 2 - 1
    for scale, measured in zip((1.0, 3.0), alike[1:], strict=True):
        vectors = functional.normalize(torch.stack([torch.ones(6), scale * positions], 1), dim=1)
        expected = float(((vectors @ vectors.T).sum() - 6) / 30)
        assert measured == pytest.approx(expected, abs=0.05)
    assert alike[2] < alike[1] < 0.9


def test_matrices_as_large_as_their_inputs_ask_for() -> None:
    model = make("chebyshev:2", 2.0, "fan-in")
    for key, values in model.terms.items():
        stack = values.detach()
        if stack.dim() <= 2:
            continue
        spread = stack.flatten(1).std(1) * stack.shape[-1] ** 0.5
        assert spread.tolist() == pytest.approx([1, 2, 2], rel=0.03), key
    plain = make("chebyshev:2", 2.0)
    vectors = [key for key, values in plain.terms.items() if values.dim() <= 2]
    assert vectors
    assert all(torch.equal(plain.terms[key], model.terms[key]) for key in vectors)
