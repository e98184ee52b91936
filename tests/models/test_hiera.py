"""Hiera, whose blocks timm counts in one row: stages are found, named and expanded at any profile."""

from typing import Any

import pytest
import timm
import torch

from tests.models.test_families import EXAMPLES, a_learngene
from tleg.errors import ArchitectureError, InputError
from tleg.models.architecture import build, describe, timm_family_of
from tleg.models.features import check_output, describe_output, giving
from tleg.models.learngene import Learngene
from tleg.models.output import parse_output
from tleg.models.pruning import keep_blocks

NAME, SMALL = EXAMPLES["hiera"]
ABSOLUTE_WINDOWS = ("hiera_small_abswin_256", {"img_size": 64, "embed_dim": 16, "stages": [1, 2, 3, 2]})


def hiera() -> Learngene:
    return a_learngene(timm_family_of(describe(NAME, SMALL)))


def test_stages_are_counted_after_the_blocks_that_pool() -> None:
    architecture = hiera().header.architecture
    assert architecture.stages == (1, 2, 3, 1)
    assert describe("hiera_base_224").stages == (2, 2, 15, 2)
    names = hiera().tensors
    assert [name for name in names if name.endswith(".proj.weight") and ".attn." not in name] == [
        *("patch_embed.proj.weight", "stages.1.blocks.0.proj.weight"),
        *("stages.2.blocks.0.proj.weight", "stages.3.blocks.0.proj.weight"),
    ]


@pytest.mark.parametrize(("profile", "ends"), [((1, 2, 3, 1), [0, 3, 7, 9]), ((3, 1, 5, 2), [2, 4, 10, 13])])
def test_a_descendant_is_timms_own_of_so_many_blocks(profile: tuple[int, ...], ends: list[int]) -> None:
    model: Any = hiera().expand(profile)
    assert model.stage_ends == ends
    made = timm.create_model(NAME, num_classes=5, **{**SMALL, "stages": [end + 1 - start for start, end in _spans(ends)]})
    made.load_state_dict(model.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(model(images), made.eval()(images), atol=1e-5)
        assert torch.allclose(hiera().elastic()(images, profile), made(images), atol=1e-5)
    family = timm_family_of(hiera().header.architecture)
    assert family.counted(model) == profile
    # Queries are pooled where a stage begins, and windows end where the third stage has begun.
    assert [block.attn.q_stride for block in model.blocks] == [
        4 if index - 1 in ends[:3] else 1 for index in range(ends[-1] + 1)
    ]
    assert [block.attn.use_mask_unit_attn for block in model.blocks] == [
        index <= ends[1] + 1 for index in range(ends[-1] + 1)
    ]


def _spans(ends: list[int]) -> list[tuple[int, int]]:
    return [*zip([0, *(end + 1 for end in ends)], ends, strict=False)]


def test_taking_blocks_out_leaves_those_that_pool() -> None:
    family = timm_family_of(describe(NAME, SMALL))
    model: Any = build(describe(NAME, SMALL, 5), (2, 1, 3, 1))
    whole = family.blocks(model, 2)
    assert family.take_blocks(model, 2) == whole
    assert family.counted(model) == (2, 1, 0, 1)
    assert model.blocks[4].attn.q_stride == 4
    assert model.blocks[5].attn.q_stride == 4
    assert [name for name, value in model.named_parameters() if value.shape == (128, 64)] == ["blocks.5.proj.weight"]


def test_blocks_are_dropped_from_any_stage() -> None:
    architecture = describe(NAME, SMALL, 5)
    family = timm_family_of(architecture)
    torch.manual_seed(0)
    whole, shallower = build(architecture, (2, 2, 3, 2)), build(architecture, (1, 2, 2, 1))
    keep_blocks(whole, shallower, family, ((1,), (0, 1), (0, 2), (1,)))
    own, kept = whole.state_dict(), shallower.state_dict()
    # timm's numbers: 2 blocks, 1 + 2, 1 + 3, 1 + 2 before, and 1, 1 + 2, 1 + 2, 1 + 1 now.
    moved = {0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 8, 7: 9, 8: 11}
    for now, before in moved.items():
        assert torch.equal(kept[f"blocks.{now}.attn.qkv.weight"], own[f"blocks.{before}.attn.qkv.weight"]), now


def test_maps_are_those_of_its_stages() -> None:
    model: Any = hiera().expand((1, 1, 2, 1))
    with pytest.raises(InputError, match="has stages, whose blocks timm does not give: take stages:1,2,3,4"):
        check_output(model, parse_output("blocks:3"), "it")
    output = parse_output("stages:2,4")
    check_output(model, output, "it")
    assert [each.shape for each in describe_output(model, output, (3, 64, 64), "it")] == [(32, 8, 8), (128, 2, 2)]
    images = torch.randn(2, 3, 64, 64)
    maps = model.forward_intermediates(images, intermediates_only=True)
    assert all(torch.equal(one, other) for one, other in zip(giving(model, output)(images), maps[1::2], strict=True))


def test_positions_of_windows_are_none_of_the_size() -> None:
    name, arguments = ABSOLUTE_WINDOWS
    architecture = describe(name, arguments, 5)
    assert architecture.stages == (1, 1, 2, 1)
    assert describe("hiera_small_abswin_256").input_size == (3, 256, 256)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"img_size": 72}, "an image of 72 x 72 pixels does not divide into mask units of 32 x 32; one of 64 x 64 does"),
        ({"stages": [1, 2, 3], "q_pool": 2}, "this model has no stages as those of the family 'hiera'"),
        ({"stages": [1, 1, 3, 2]}, "stage 1 has no blocks after its first 1"),
    ],
)
def test_what_is_no_such_model_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ArchitectureError, match=says):
        describe(NAME, {**SMALL, **arguments})
