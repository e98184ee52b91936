"""Which ViTs can be expanded; what cannot is refused with the reason."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tleg.errors import ArchitectureError, FileFormatError
from tleg.learngene.header import Architecture
from tleg.learngene.structure import parameter_shapes
from tleg.models.architecture import build, describe


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("deit_tiny_distilled_patch16_224", {}, "cannot be expanded as timm's plain ViTs can"),
        ("swin_tiny_patch4_window7_224", {}, "cannot be expanded as timm's plain ViTs can"),
        ("resnet18", {}, "cannot be expanded"),
        ("eva02_tiny_patch14_224", {}, "it takes no 'fc_norm'"),
        ("deit_tiny_patch16_225", {}, "Did you mean 'deit_tiny_patch16_224'"),
        ("nothing like it", {}, "timm has no model"),
        ("deit_tiny_patch16_224", {"emb_dim": 3}, "takes no argument 'emb_dim'. Did you mean 'embed_dim'?"),
        ("deit_tiny_patch16_224", {"depth": 3}, "depth and num_classes are chosen"),
        ("deit_tiny_patch16_224", {"num_heads": 5}, "cannot build"),
        ("deit_tiny_patch16_224", {"img_size": 30, "patch_size": 0}, "cannot build"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(name: str, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        describe(name, arguments)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deit_tiny_patch16_224", {}),
        ("deit_small_patch16_224", {"class_token": True}),
        ("vit_small_patch16_224.augreg_in21k", {"class_token": True}),
        ("deit3_small_patch16_224", {}),
        ("vit_small_patch14_dinov2", {"img_size": 224}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": (140, 70), "class_token": True}),
        ("vit_base_patch32_clip_224", {"class_token": True}),
        ("deit_tiny_patch16_224", {"in_chans": 1, "qkv_bias": False, "mlp_ratio": 2}),
    ],
)
def test_a_description_says_which_parameters_there_are(name: str, arguments: dict[str, Any]) -> None:
    architecture = describe(name, arguments, 10)
    assert architecture.structure is not None
    state = build(architecture, 1, device="meta").state_dict()
    found = {key.replace("blocks.0.", "blocks."): tuple(value.shape) for key, value in state.items()}
    assert parameter_shapes(architecture.structure, 10) == found
    assert "." not in architecture.name
    assert architecture.input_size[1:] == architecture.structure.image_size


def test_auxiliary_layout_is_the_default() -> None:
    structure = describe("deit_tiny_patch16_224").structure
    assert structure is not None
    assert (structure.class_token, structure.pool, structure.eps) == (False, "avg", 1e-6)
    with_token = describe("deit_tiny_patch16_224", {"class_token": True}).structure
    assert with_token is not None
    assert (with_token.class_token, with_token.pool) == (True, "token")


@pytest.mark.parametrize("arguments", [{"qk_norm": True}, {"dynamic_img_size": True}, {"global_pool": "map"}])
def test_what_only_timm_can_build_has_no_structure(arguments: dict[str, Any]) -> None:
    assert describe("deit_tiny_patch16_224", arguments).structure is None


@pytest.mark.parametrize("name", ["hf-hub:somebody/something", "local-dir:/tmp", "deit_tiny_patch16_224_gone"])
def test_names_from_a_file_are_timms_own_or_refused(name: str) -> None:
    architecture = replace(describe("deit_tiny_patch16_224"), name=name)
    with pytest.raises(ArchitectureError, match="has no model"):
        build(architecture, 1)


@pytest.mark.parametrize("argument", ["pretrained", "checkpoint_path", "depth", "norm_layer"])
def test_arguments_that_a_file_must_not_say(argument: str) -> None:
    with pytest.raises(FileFormatError, match=argument):
        Architecture("deit_tiny_patch16_224", {argument: 1}, 10, (3, 224, 224))


def test_describing_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    describe("deit_tiny_patch16_224")
    assert torch.equal(torch.get_rng_state(), before)
