"""Expansion: the formula, to the bit, and everything that must equal it."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tleg.errors import ArchitectureError, DepthError, InputError
from tleg.learngene.basis import MAX_DEPTH, Basis, parse_basis
from tleg.learngene.expansion import expand_parameter
from tleg.models.auxiliary import AuxiliaryModel, ExpandTerms

BASES = [Basis(), parse_basis("polynomial:3"), parse_basis("cosine:2"), parse_basis("piecewise:3")]

# Small versions of the families that tleg expands; every one is a ViT of width 48 with 3 heads.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "deit": ("deit_tiny_patch16_224", {}),
    "deit, class token": ("deit_tiny_patch16_224", {"class_token": True}),
    "vit": ("vit_tiny_patch16_224", {"class_token": True}),
    "vit, pooled": ("vit_base_patch16_224", {}),
    "vit, registers": ("vit_base_patch16_224", {"reg_tokens": 3, "class_token": True}),
    "deit3": ("deit3_small_patch16_224", {"class_token": True}),
    "deit3, pooled": ("deit3_small_patch16_224", {}),
    "dinov2": ("vit_small_patch14_dinov2", {"class_token": True}),
    "dinov2, registers": ("vit_small_patch14_reg4_dinov2", {"class_token": True}),
    "clip": ("vit_base_patch32_clip_224", {"class_token": True}),
    "no bias": ("deit_tiny_patch16_224", {"qkv_bias": False}),
    "grey": ("deit_tiny_patch16_224", {"in_chans": 1}),
    "narrow MLP": ("deit_tiny_patch16_224", {"mlp_ratio": 2.0}),
}


@given(
    arrays.arrays(np.float32, (3, 5), elements=st.floats(-100, 100, width=32)),
    st.integers(1, 96),
)
def test_agrees_with_the_formula_in_double_precision(terms: Any, depth: int) -> None:
    basis = Basis("polynomial", degree=2)
    expected = np.asarray(basis.coefficients(depth)) @ terms.astype(np.float64)
    found = expand_parameter(terms, basis.coefficients(depth))
    assert found.shape == (depth, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-7 * 3 * max(1.0, float(np.abs(terms).max())))


@given(st.integers(1, 96), st.integers(1, 40_000))
def test_the_papers_rule_to_the_bit(depth: int, size: int) -> None:
    generator = np.random.default_rng(size)
    base, slope = generator.normal(size=(2, size)).astype(np.float32)
    found = expand_parameter(np.stack([base, slope]), Basis().coefficients(depth))
    for layer in range(depth):
        assert np.array_equal(found[layer], base + np.float32(layer / depth) * slope)


@pytest.mark.parametrize("size", [7, 5_000])
def test_a_term_that_is_left_out_leaves_the_sign_of_zeros(size: int) -> None:
    base, slope = np.full(size, -0.0, np.float32), np.ones(size, np.float32)
    found = expand_parameter(np.stack([base, slope]), Basis().coefficients(3))
    assert np.signbit(found[0]).all()
    assert not np.signbit(found[1:]).any()


@pytest.mark.parametrize("depth", [1, 2, 3, 12, 96, MAX_DEPTH])
def test_any_depth(tiny_learngene: Any, depth: int) -> None:
    learngene = tiny_learngene()
    tensors = learngene.expand_tensors(depth)
    assert sum(name.endswith(".attn.qkv.weight") for name in tensors) == depth
    last = learngene.tensors["blocks.norm1.weight"]
    assert np.array_equal(tensors[f"blocks.{depth - 1}.norm1.weight"], last[0] + np.float32((depth - 1) / depth) * last[1])


@pytest.mark.parametrize("depth", [0, -1, MAX_DEPTH + 1, 10**9])
def test_impossible_depths(tiny_learngene: Any, depth: int) -> None:
    learngene = tiny_learngene()
    for call in (learngene.expand, learngene.expand_tensors, learngene.coefficients, learngene.elastic().coefficients):
        with pytest.raises(DepthError):
            call(depth)


def test_terms_are_not_changed_by_what_is_made_from_them(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    before = learngene.hash()
    model = learngene.expand(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    assert learngene.hash() == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_shared_parts_are_the_same_in_every_layer(tiny_learngene: Any) -> None:
    tensors = tiny_learngene(basis=Basis(expanded=("mlp",))).expand_tensors(4)
    assert np.array_equal(tensors["blocks.0.attn.qkv.weight"], tensors["blocks.3.attn.qkv.weight"])
    assert not np.array_equal(tensors["blocks.0.mlp.fc1.weight"], tensors["blocks.3.mlp.fc1.weight"])


def images_for(learngene: Any, count: int = 3) -> torch.Tensor:
    return torch.randn(count, *learngene.header.architecture.input_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", FAMILIES)
def test_elastic_equals_expanded_in_every_family(tiny_learngene: Any, family: str) -> None:
    name, arguments = FAMILIES[family]
    learngene = tiny_learngene(name, arguments)
    assert learngene.header.architecture.structure is not None
    elastic = learngene.elastic()
    images = images_for(learngene)
    with torch.inference_mode():
        for depth in (1, 3, 12):
            assert torch.equal(elastic(images, depth), learngene.expand(depth)(images)), depth


@pytest.mark.parametrize("basis", BASES, ids=lambda basis: basis.name)
def test_elastic_equals_expanded_in_every_basis(tiny_learngene: Any, basis: Basis) -> None:
    learngene = tiny_learngene(basis=basis)
    elastic = learngene.elastic()
    images = images_for(learngene)
    with torch.inference_mode():
        for depth in (1, 2, 5, 16):
            assert torch.equal(elastic(images, depth), learngene.expand(depth)(images)), depth


def test_models_that_only_timm_can_describe_expand_as_well(tiny_learngene: Any) -> None:
    learngene = tiny_learngene("deit_tiny_patch16_224", {"qk_norm": True})
    assert learngene.header.architecture.structure is None
    images = images_for(learngene)
    with torch.inference_mode():
        assert torch.equal(learngene.elastic()(images, 5), learngene.expand(5)(images))


def test_auxiliary_model_gives_its_tensors_back(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    tensors = AuxiliaryModel.from_learngene(learngene).tensors()
    assert tensors.keys() == learngene.tensors.keys()
    assert all(np.array_equal(tensors[name], values) for name, values in learngene.tensors.items())


@pytest.mark.parametrize("plain_first", [True, False])
def test_gradient_of_expansion_is_the_formulas(plain_first: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    coefficients = torch.tensor(Basis("polynomial", degree=2).coefficients(5), dtype=torch.float64)
    terms = torch.randn(3, 4, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.randn(5, 4, 2, dtype=torch.float64, generator=generator)
    (ExpandTerms.apply(terms, coefficients, plain_first) * weights).sum().backward()
    found, terms.grad = terms.grad, None
    (torch.einsum("lk,kab->lab", coefficients, terms) * weights).sum().backward()
    assert found is not None
    torch.testing.assert_close(found, terms.grad, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda values: ExpandTerms.apply(values, coefficients, plain_first), (terms,))


@pytest.mark.parametrize("basis", [Basis(), Basis("polynomial", degree=2), Basis("piecewise", boundaries=(0.5,))])
def test_computing_blocks_twice_gives_the_same_gradients(tiny_learngene: Any, basis: Basis) -> None:
    # The official code keeps the layer's number in the module, so that a recomputed block has another layer's weights.
    learngene = tiny_learngene(basis=basis)
    images = images_for(learngene)
    gradients = []
    for twice in (False, True):
        model = AuxiliaryModel.from_learngene(learngene).train()
        model.gradient_checkpointing = twice
        model(images, model.coefficients(5)).square().sum().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert gradient is not None
        assert gradient.abs().max() > 0
        other = gradients[1][name]
        assert other is not None
        assert torch.equal(gradient, other), name


def test_gradient_of_the_auxiliary_model_is_that_of_the_naive_formula(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    model = AuxiliaryModel.from_learngene(learngene)
    images = images_for(learngene)
    model(images, model.coefficients(4)).square().sum().backward()
    descendant = learngene.expand(4)
    descendant(images).square().sum().backward()
    layers = dict(descendant.named_parameters())
    for key, terms in model.terms.items():
        gradients = torch.stack([layers[f"blocks.{layer}.{key.replace('/', '.')}"].grad for layer in range(4)])
        expected = torch.tensordot(model.coefficients(4), gradients, dims=([0], [0]))
        torch.testing.assert_close(terms.grad, expected, rtol=1e-4, atol=1e-5)


def gradient_of(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_gradient_checkpointing_gives_the_same_gradient(tiny_learngene: Any) -> None:
    from torch.utils.checkpoint import checkpoint

    learngene = tiny_learngene()
    images = images_for(learngene)
    gradients = []
    for through_checkpoint in (False, True):
        model = AuxiliaryModel.from_learngene(learngene)
        rows = model.coefficients(6)
        logits = checkpoint(model, images, rows, use_reentrant=False) if through_checkpoint else model(images, rows)
        logits.square().sum().backward()
        gradients.append({name: gradient_of(value) for name, value in model.named_parameters()})
    assert all(torch.equal(gradients[0][name], value) for name, value in gradients[1].items())


def test_head_is_kept_or_new(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    kept = learngene.expand(2, num_classes=7)
    assert np.array_equal(kept.head.weight.detach().numpy(), learngene.tensors["head.weight"])
    new = learngene.expand(2, num_classes=11)
    assert new.head.weight.shape == (11, 48)
    assert new.num_classes == 11
    assert not new.head.bias.any()
    assert 0.005 < float(new.head.weight.detach().std()) < 0.02
    for wrong in (0, -1, 10**9):
        with pytest.raises(InputError):
            learngene.expand(2, num_classes=wrong)


def test_layouts(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    official, auxiliary = learngene.expand(3, layout="official"), learngene.expand(3)
    assert {"fc_norm.weight", "fc_norm.bias"} <= set(official.state_dict())
    assert {"norm.weight", "norm.bias"} <= set(auxiliary.state_dict())
    assert torch.equal(official.fc_norm.weight, auxiliary.norm.weight)
    with pytest.raises(ArchitectureError, match="average pooling"):
        tiny_learngene(arguments={"class_token": True}).expand(3, layout="official")


def test_half_precision(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    state = learngene.expand(3, dtype="float16").state_dict()
    assert {value.dtype for value in state.values()} == {torch.float16}
    full = learngene.expand(3).state_dict()
    assert all(torch.equal(state[name], value.half()) for name, value in full.items())


def test_a_descendant_is_a_plain_timm_model_in_eval_mode(tiny_learngene: Any) -> None:
    from timm.models.vision_transformer import VisionTransformer

    model = tiny_learngene().expand(3)
    assert type(model) is VisionTransformer
    assert not any(module.training for module in model.modules())
    assert not any(value.is_meta for value in (*model.parameters(), *model.buffers()))
