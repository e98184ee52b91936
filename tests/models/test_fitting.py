"""The least-squares learngene of a model: exact where the layers follow the basis, the best where they do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.test_families import EXAMPLES
from tleg.errors import ArchitectureError, FileFormatError
from tleg.learngene.basis import Basis, parse_basis
from tleg.learngene.expansion import expand_parameter
from tleg.learngene.families import family_covering
from tleg.models.architecture import timm_family_of
from tleg.models.fitting import fit_layers, fit_model
from tleg.models.learngene import Learngene
from tleg.models.pretrained import PretrainedModel, open_folder, open_timm
from tleg.models.timm_folder import save_timm_folder

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}
BASES = st.sampled_from(["linear", "polynomial:3", "cosine:2", "chebyshev:3", "piecewise:3"]).map(parse_basis)


@given(basis=BASES, seed=st.integers(0, 1000), layers=st.integers(4, 12))
def test_layers_that_follow_the_basis_give_their_terms_back(basis: Basis, seed: int, layers: int) -> None:
    terms = np.random.default_rng(seed).standard_normal((basis.terms, 3, 5)).astype(np.float32)
    made = expand_parameter(terms, basis.coefficients(layers))
    assert fit_layers(made, basis) == pytest.approx(terms, abs=1e-3)


@given(basis=BASES, seed=st.integers(0, 1000), layers=st.integers(1, 12))
def test_no_other_terms_come_closer(basis: Basis, seed: int, layers: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((layers, 7)).astype(np.float32)
    coefficients = np.array(basis.coefficients(layers))
    terms = fit_layers(values, basis).astype(np.float64)
    distance = np.sum((values - coefficients @ terms) ** 2)
    for _ in range(5):
        moved = terms + 0.1 * generator.standard_normal(terms.shape)
        assert np.sum((values - coefficients @ moved) ** 2) >= distance - 1e-6
    if layers <= basis.terms and basis.name != "piecewise":
        assert distance == pytest.approx(0, abs=1e-8)


def test_what_the_basis_does_not_expand_becomes_the_mean() -> None:
    layers = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert fit_layers(layers, Basis(), expanded=False).tolist() == [[4, 5, 6, 7]]


@pytest.fixture
def saved(tiny_learngene: Any, tmp_path: Path) -> tuple[Learngene, PretrainedModel]:
    """A learngene with ten named classes, and its descendant of depth 6 as a folder that timm loads."""
    learngene: Learngene = tiny_learngene(num_classes=3, classes=("a", "b", "c"))
    header = learngene.header
    tensors = learngene.expand_tensors(6)
    folder = tmp_path / "six"
    folder.mkdir()
    save_timm_folder(folder, tensors, header.architecture, 6, preprocessing=header.preprocessing, classes=header.classes)
    return learngene, open_folder(folder)


def test_a_descendant_gives_its_learngene_back(saved: tuple[Learngene, PretrainedModel]) -> None:
    learngene, opened = saved
    fitted = fit_model(opened, Basis())
    assert fitted.learngene.tensors.keys() == learngene.tensors.keys()
    for name, values in learngene.tensors.items():
        assert fitted.learngene.tensors[name] == pytest.approx(values, abs=1e-5), name
    header = fitted.learngene.header
    assert header.classes == ("a", "b", "c")
    assert header.auxiliary.depth == 6
    assert header.architecture.structure == learngene.header.architecture.structure
    assert header.preprocessing.mean == learngene.header.preprocessing.mean
    assert header.sha256 == fitted.learngene.hash()
    assert header.cost == learngene.header.cost
    (stage,) = fitted.stages
    assert stage.error < 1e-6
    assert len(stage.by_layer) == 6
    assert not stage.exact


def test_as_many_terms_as_layers_make_the_model_itself(saved: tuple[Learngene, PretrainedModel]) -> None:
    _, opened = saved
    torch.manual_seed(0)
    for value in opened.model.parameters():
        torch.nn.init.normal_(value, std=0.2)
    fitted = fit_model(opened, parse_basis("piecewise:6"))
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(fitted.learngene.expand(6)(images), opened.model(images), atol=1e-5)
    assert fitted.stages[0].exact


@pytest.mark.parametrize("family", ["vit", "swin", "convnext", "cait", "mvit-v2", "hiera"])
def test_stem_head_and_what_lies_between_stages_are_the_model_s_own(family: str) -> None:
    name, arguments = EXAMPLES[family]
    given = {**family_covering(name).timm_arguments(arguments), "num_classes": 4}
    opened = open_timm(name, given, pretrained=False)
    fitted = fit_model(opened, Basis())
    header, own = fitted.learngene.header, timm_family_of(fitted.learngene.header.architecture).state_by_stages(opened.model)
    profile = tuple(len(each.layers) for each in fitted.stages)
    assert header.architecture.stages == (profile if len(profile) > 1 else ())
    kept = [key for key in fitted.learngene.tensors if key in own]
    assert any("norm" in key for key in kept)
    for key in kept:
        assert torch.equal(torch.from_numpy(fitted.learngene.tensors[key]), own[key]), key
    model = fitted.learngene.expand(profile if len(profile) > 1 else profile[0])
    with torch.inference_mode():
        assert model(torch.zeros(1, *header.architecture.input_size)).shape == (1, header.architecture.num_classes)
    # A layer of the fit is nearer to the layers' mean than each of them is far from zero, and not the layer itself.
    assert 0 < max(each.error for each in fitted.stages) < 1


def test_a_backbone_has_no_head_and_keeps_all_else() -> None:
    opened = open_timm("vit_tiny_patch16_224", {**SMALL, "depth": 3, "num_classes": 0}, pretrained=False)
    fitted = fit_model(opened, Basis())
    assert fitted.learngene.header.architecture.num_classes == 0
    assert fitted.learngene.header.classes == ()
    assert not [name for name in fitted.learngene.tensors if name.startswith("head.")]
    # As many terms as layers would be the model itself; of what no basis expands it is.
    descendant = fitted.learngene.expand(3).state_dict()
    assert torch.equal(descendant["patch_embed.proj.weight"], opened.model.state_dict()["patch_embed.proj.weight"])


def test_a_class_token_stays() -> None:
    opened = open_timm("vit_tiny_patch16_224", {**SMALL, "depth": 3}, pretrained=False)
    architecture = fit_model(opened, Basis()).learngene.header.architecture
    assert architecture.structure is not None
    assert (architecture.structure.class_token, architecture.structure.pool) == (True, "token")


def test_a_norm_after_pooling_is_made_by_the_official_layout() -> None:
    opened = open_timm("vit_tiny_patch16_224", {**SMALL, "depth": 3, "global_pool": "avg"}, pretrained=False)
    torch.nn.init.uniform_(opened.model.fc_norm.weight)
    fitted = fit_model(opened, parse_basis("piecewise:3"))
    assert "--layout official" in " ".join(fitted.notes)
    images = torch.randn(2, 3, 32, 32)
    model = fitted.learngene.expand(3, layout="official")
    with torch.inference_mode():
        assert torch.allclose(model(images), opened.model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("resnet10t", "cannot be expanded"), ("deit_tiny_distilled_patch16_224", "VisionTransformerDistilled")],
)
def test_what_cannot_be_expanded_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ArchitectureError, match=reason):
        fit_model(open_timm(name, {}, pretrained=False), Basis())


def test_weights_that_are_not_finite_are_refused() -> None:
    opened = open_timm("vit_tiny_patch16_224", {**SMALL, "depth": 3}, pretrained=False)
    opened.model.blocks[1].norm1.bias.data[0] = float("nan")
    with pytest.raises(FileFormatError, match=r"'blocks\.1\.norm1\.bias' of vit_tiny_patch16_224"):
        fit_model(opened, Basis())
