"""What an auxiliary model begins with: the same layers in another basis, or a refusal that names both sides."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import InputError
from tleg.learngene.basis import Basis, parse_basis
from tleg.learngene.expansion import expand_parameter
from tleg.models.architecture import describe
from tleg.models.fitting import fit_model
from tleg.models.pretrained import open_timm
from tleg.models.starting import conversion, convert, start_tensors

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}
CONTAINED = [
    ("linear", "polynomial:3"),
    ("linear", "chebyshev:2"),
    ("polynomial:2", "chebyshev:2"),
    ("chebyshev:3", "polynomial:3"),
    ("cosine:2", "cosine:4"),
    ("piecewise:2", "piecewise:4"),
    ("piecewise:0.25", "piecewise:0.1,0.25,0.7"),
    ("linear", "linear"),
]
NOT_CONTAINED = [
    ("linear", "piecewise:4"),
    ("piecewise:2", "linear"),
    ("piecewise:4", "piecewise:2"),
    ("piecewise:0.25", "piecewise:0.25000001"),
    ("polynomial:3", "polynomial:2"),
    ("linear", "cosine:8"),
    ("cosine:1", "chebyshev:3"),
]


@given(pair=st.sampled_from(CONTAINED), depth=st.integers(1, 40), seed=st.integers(0, 1000))
def test_the_layers_of_every_depth_stay(pair: tuple[str, str], depth: int, seed: int) -> None:
    source, target = map(parse_basis, pair)
    terms = np.random.default_rng(seed).standard_normal((source.terms, 6)).astype(np.float32)
    by_term = conversion(source, target)
    assert by_term is not None
    before = expand_parameter(terms, source.coefficients(depth))
    after = expand_parameter((by_term @ terms).astype(np.float32), target.coefficients(depth))
    assert after == pytest.approx(before, abs=1e-4)


@pytest.mark.parametrize(("source", "target"), NOT_CONTAINED)
def test_what_would_be_other_layers_is_none(source: str, target: str) -> None:
    assert conversion(parse_basis(source), parse_basis(target)) is None


def test_the_paper_s_terms_in_chebyshev_s() -> None:
    # 1 is T_0, and t is (T_0 + T_1) / 2.
    found = conversion(Basis(), parse_basis("chebyshev:3"))
    assert found is not None
    assert found.tolist() == [[1, 0.5], [0, 0.5], [0, 0], [0, 0]]


def test_a_learngene_in_another_basis_makes_the_same_descendants(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(basis=parse_basis("linear", ("mlp",)))
    target = parse_basis("chebyshev:2", ("mlp", "norm"))
    tensors = convert(learngene, target)
    other = tiny_learngene(basis=target)
    assert {name: values.shape for name, values in tensors.items()} == {
        name: values.shape for name, values in other.tensors.items()
    }
    images = torch.randn(2, 3, 32, 32)
    expected = learngene.expand(5)(images)
    changed = type(learngene)(other.header, tensors).expand(5)(images)
    assert torch.allclose(changed, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("own", "wanted", "parts", "message"),
    [
        ("chebyshev:3", "linear", "attention,mlp,norm", "chebyshev:3 basis cannot be written exactly in the linear basis"),
        ("piecewise:4", "piecewise:2", "attention,mlp,norm", "piecewise:0.25,0.5,0.75 basis cannot"),
        ("linear", "linear", "attention,mlp", "--expand attention,mlp shares its norm among all layers"),
    ],
)
def test_what_would_change_the_layers_is_refused(
    tiny_learngene: Any, own: str, wanted: str, parts: str, message: str
) -> None:
    expanded: Any = tuple(parts.split(","))
    with pytest.raises(InputError, match=message) as caught:
        convert(tiny_learngene(basis=parse_basis(own)), parse_basis(wanted, expanded))
    assert caught.value.code == "mismatch"


NAMES = ("a", "b", "c", "d", "e", "f", "g")


def test_a_head_of_the_same_classes_is_kept_in_the_order_of_the_data(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(classes=NAMES)
    found = start_tensors(learngene, learngene.header.architecture, Basis(), tuple(reversed(NAMES)))
    assert found.head == "kept"
    assert np.array_equal(found.tensors["head.weight"], learngene.tensors["head.weight"][::-1])
    assert np.array_equal(found.tensors["head.bias"], learngene.tensors["head.bias"][::-1])


@pytest.mark.parametrize("classes", [(*NAMES[:6], "other"), NAMES[:6]])
def test_another_head_is_left_to_the_model(tiny_learngene: Any, classes: tuple[str, ...]) -> None:
    learngene = tiny_learngene(classes=NAMES)
    found = start_tensors(learngene, describe("deit_tiny_patch16_224", SMALL, len(classes)), Basis(), classes)
    assert found.head == "new"
    assert not [name for name in found.tensors if name.startswith("head")]
    assert "norm.weight" in found.tensors


def test_a_backbone_starts_what_has_a_head_of_its_own() -> None:
    opened = open_timm("vit_tiny_patch16_224", {**SMALL, "depth": 3, "num_classes": 0}, pretrained=False)
    learngene = fit_model(opened, Basis()).learngene
    arguments = learngene.header.architecture.arguments
    found = start_tensors(learngene, describe("vit_tiny_patch16_224", arguments, len(NAMES)), Basis(), NAMES)
    assert found.head == "new"
    assert not [name for name in found.tensors if name.startswith("head")]
    assert np.array_equal(found.tensors["norm.weight"], learngene.tensors["norm.weight"])


def test_without_layers_it_is_stem_norms_and_head(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(classes=NAMES, basis=parse_basis("piecewise:4"))
    found = start_tensors(learngene, learngene.header.architecture, Basis(), NAMES, layers=False)
    assert not [name for name in found.tensors if name.startswith("blocks.")]
    assert {"pos_embed", "patch_embed.proj.weight", "norm.weight", "head.weight"} <= found.tensors.keys()


def test_position_embeddings_are_resampled(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(classes=NAMES)
    found = start_tensors(learngene, describe("deit_tiny_patch16_224", {**SMALL, "img_size": 48}, 7), Basis(), NAMES)
    assert found.tensors["pos_embed"].shape == (1, 36, 48)
    assert np.array_equal(found.tensors["pos_embed"], learngene.at_image_size((48, 48)).tensors["pos_embed"])


def test_a_class_token_is_left_out_where_the_model_has_none(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(arguments={"class_token": True, "reg_tokens": 2}, classes=NAMES)
    found = start_tensors(learngene, describe("deit_tiny_patch16_224", SMALL, 7), Basis(), NAMES)
    assert "cls_token" not in found.tensors
    assert np.array_equal(found.tensors["pos_embed"], learngene.tensors["pos_embed"][:, 3:])
    assert "class token" in found.notes[0]


@pytest.mark.parametrize(
    ("arguments", "both"),
    [
        ({"embed_dim": 96}, ("a width of 48 and 3 heads", "a width of 96 and 3 heads")),
        ({"num_heads": 2}, ("a width of 48 and 3 heads", "a width of 48 and 2 heads")),
        ({"mlp_ratio": 2}, (r"'blocks.0.mlp.fc1.bias' of shape \[192\]", r"'blocks.0.mlp.fc1.bias' of shape \[96\]")),
        ({"patch_size": 4}, (r"\[48, 3, 8, 8\]", r"\[48, 3, 4, 4\]")),
        ({"init_values": 1e-5}, ("no 'blocks.0.ls1.gamma'", r"'blocks.0.ls1.gamma' of shape \[48\]")),
        ({"class_token": True}, ("0 tokens before the patches", "1 and all")),
    ],
)
def test_other_sizes_are_refused_and_both_are_named(
    tiny_learngene: Any, arguments: dict[str, Any], both: tuple[str, str]
) -> None:
    wanted = describe("deit_tiny_patch16_224", {**SMALL, **arguments}, 7)
    with pytest.raises(InputError, match=f"{both[0]}.*{both[1]}") as caught:
        start_tensors(tiny_learngene(classes=NAMES), wanted, Basis(), NAMES)
    assert caught.value.fields == ("start", "architecture")
    assert caught.value.code == "mismatch"


def test_another_family_is_refused(tiny_learngene: Any) -> None:
    wanted = describe("convnext_atto", {"dims": [8, 12, 16, 24]}, 7)
    with pytest.raises(InputError, match="is a 'deit_tiny_patch16_224', and 'convnext_atto' is of another family"):
        start_tensors(tiny_learngene(), wanted, Basis(), NAMES)
