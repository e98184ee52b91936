"""Which ViTs can be expanded; what cannot is refused with the reason."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tleg.errors import ArchitectureError, FileFormatError
from tleg.learngene.architecture import Architecture
from tleg.learngene.structure import parameter_shapes
from tleg.models.architecture import build, describe


@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("deit_tiny_distilled_patch16_224", {}, "cannot be expanded as timm's plain ViTs can"),
        (
            "gcvit_tiny",
            {"depths": [3, 4, 6, 5]},
            "'stages.2.blocks' has 5 blocks after its first 1, and blocks of 2 kinds take turns",
        ),
        (
            "gcvit_xxtiny",
            {"depths": [2, 3, 6, 2]},
            r"'stages.1.blocks' has 3 blocks, and blocks of 2 kinds take turns there",
        ),
        ("caformer_s18", {"widths": 3}, "timm cannot build 'caformer_s18'"),
        ("caformer_s18", {"depths": [2, 2]}, "no stages as those of the family 'metaformer'"),
        ("mixer_s16_224", {"num_blocks": 3}, "are chosen when a descendant is built"),
        (
            "vit_small_patch16_rope_mixed_224",
            {},
            "depends on the number of layers",
        ),
        ("swin_tiny_patch4_window7_224", {"num_classes": 5}, "num_classes is chosen when a descendant is built"),
        ("swin_tiny_patch4_window7_224", {"depths": [2, 0, 2, 2]}, "stage 1 has no blocks"),
        ("swin_tiny_patch4_window7_224", {"windows": 3}, "timm cannot build 'swin_tiny_patch4_window7_224'"),
        ("convnext_atto", {"depths": [2, 2]}, "timm cannot build 'convnext_atto'"),
        ("swinv2_cr_tiny_ns_224", {}, "stages.0.blocks.1 is not as stages.0.blocks.0"),
        ("swinv2_cr_huge_224", {}, "stages.2.blocks.5 is not as stages.2.blocks.0"),
        ("swinv2_cr_tiny_224", {"depths": [2, 2, 2, 3]}, "depends on the number of layers"),
        ("mvitv2_tiny", {"depths": [1, 1, 3, 2]}, "stage 1 has no blocks after its first 1"),
        ("mvitv2_large", {}, "stages.0.blocks.1 is not as stages.0.blocks.0"),
        ("qwen3_vit_88m_enc", {}, "no stages as those of the family 'vision-encoder'"),
        ("twins_svt_small", {"depths": [2, 2, 5, 4]}, "'blocks.2' has 3 blocks after its first 2, and"),
        ("levit_128", {}, "cannot be expanded"),
        ("resnet18", {}, "cannot be expanded"),
        ("eva02_tiny_patch14_224", {"depth": 3}, "depth and num_classes are chosen"),
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


def test_the_longest_stage_is_elastic_and_the_others_keep_their_depths() -> None:
    swin = describe("swin_tiny_patch4_window7_224", {"img_size": 56, "window_size": 7})
    assert (swin.stages, swin.elastic) == ((2, 2, 6, 2), 2)
    assert swin.stages_text == "2-2-N-2"
    assert swin.profile(9) == (2, 2, 9, 2)
    assert describe("deit_tiny_patch16_224").profile(9) == (9,)
    chosen = describe("convnext_atto", {"depths": [1, 3, 3, 2]})
    assert (chosen.stages, chosen.elastic) == ((1, 3, 3, 2), 1)
    assert "depths" not in chosen.arguments
    model: Any = build(chosen, 5, device="meta")
    assert [len(stage.blocks) for stage in model.stages] == [1, 5, 3, 2]


def test_models_of_any_size_say_for_which_they_are() -> None:
    small = describe("convnext_atto", {"img_size": 64, "in_chans": 1})
    assert small.input_size == (1, 64, 64)
    assert build(small, 1, device="meta")(torch.zeros(1, 1, 64, 64, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "beit_base_patch16_224", "vit_small_patch16_dinov3"])
def test_masks_and_tables_have_values_where_parameters_have_none(name: str) -> None:
    arguments = {"img_size": 56} if name.startswith("swin") else {"img_size": 32, "patch_size": 8}
    architecture = describe(name, arguments, 3)
    before = torch.get_rng_state()
    without, real = build(architecture, 4, device="meta"), build(architecture, 4)
    assert all(value.is_meta for value in without.parameters())
    expected = dict(real.named_buffers(remove_duplicate=False))
    assert expected, "timm keeps some"
    for key, value in without.named_buffers(remove_duplicate=False):
        assert torch.equal(value, expected.pop(key)), key
    assert not expected
    torch.set_rng_state(before)
    build(architecture, 2, device="meta")
    assert torch.equal(torch.get_rng_state(), before), "nothing random is drawn"


def test_models_have_no_stochastic_depth_of_their_own() -> None:
    model = build(describe("swin_tiny_patch4_window7_224", {"img_size": 56}), 3, device="meta")
    assert not [module for module in model.modules() if getattr(module, "drop_prob", 0)]
    model = build(describe("swin_tiny_patch4_window7_224", {"img_size": 56}), 3, device="meta", drop_path=0.2)
    assert [module for module in model.modules() if getattr(module, "drop_prob", 0)]


def test_a_file_says_its_stages() -> None:
    architecture = describe("deit_tiny_patch16_224")
    with pytest.raises(FileFormatError, match="no stage 2"):
        replace(architecture, stages=(1, 1), elastic=2)
    with pytest.raises(FileFormatError, match="stages of 1 to 1024 blocks"):
        replace(architecture, stages=(1, 0))


def test_the_size_that_timm_has_for_a_name_is_taken_as_it_is() -> None:
    # 27 patches of 14 pixels: the last six rows and columns of 384 are seen by none.
    small = {"embed_dim": 48, "num_heads": 3}
    architecture = describe("vit_so400m_patch14_siglip_gap_384", small, 5)
    assert architecture.input_size == (3, 384, 384)
    assert architecture.structure is None, "a graph writer's patches divide its images"
    state = build(architecture, 1, device="meta").state_dict()
    assert state["pos_embed"].shape == (1, 27 * 27, 48)
    with pytest.raises(ArchitectureError, match=r"an image of 385 x 384 pixels .* one of 378 x 378 does"):
        describe("vit_so400m_patch14_siglip_gap_384", {**small, "img_size": [385, 384]}, 5)
