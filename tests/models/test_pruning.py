"""Blocks that change least what they are given are found, and dropped; all else of the model stays."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import DepthError
from tleg.models.architecture import build, describe, timm_family_of
from tleg.models.pruning import block_importance, keep_blocks, kept_profile, most_important

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}
SWIN = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 12, "num_heads": [1, 2, 2, 4]}


def silenced(model: Any, *blocks: int) -> Any:
    """The model, whose blocks of these numbers hand on what they get."""
    for index in blocks:
        for layer in (model.blocks[index].attn.proj, model.blocks[index].mlp.fc2):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    return model.eval()


def vit(depth: int) -> Any:
    torch.manual_seed(0)
    return build(describe("vit_tiny_patch16_224", SMALL, 4), depth)


def test_blocks_that_hand_on_what_they_get_count_nothing() -> None:
    model, family = silenced(vit(5), 1, 3), timm_family_of(describe("vit_tiny_patch16_224", SMALL, 4))
    images = torch.randn(6, 3, 32, 32)
    (found,) = block_importance(model, family, [images[:4], images[4:]])
    assert [found[1], found[3]] == pytest.approx([0, 0], abs=1e-6)
    assert min(found[0], found[2], found[4]) > 1e-5
    # Whatever the batches, the mean is over tokens.
    (again,) = block_importance(model, family, [images])
    assert again == pytest.approx(found, rel=1e-4, abs=1e-7)
    assert not any(block._forward_hooks for block in model.blocks)


def test_the_model_of_the_other_blocks_computes_the_same() -> None:
    model, shallower = silenced(vit(5), 1, 3), vit(3)
    family = timm_family_of(describe("vit_tiny_patch16_224", SMALL, 4))
    images = torch.randn(2, 3, 32, 32)
    kept = most_important(block_importance(model, family, [images]), (3,))
    assert kept == ((0, 2, 4),)
    keep_blocks(model, shallower, family, kept)
    with torch.inference_mode():
        assert torch.allclose(shallower.eval()(images), model(images), atol=1e-6)


def test_a_block_of_two_kinds_is_kept_or_dropped_as_one() -> None:
    # timm's blocks 1 and 2, 3 and 4, 5 and 6 of the third stage; the first, of windows, is stored once.
    small = {"img_size": 64, "embed_dim": 8, "num_heads": [1, 2, 2, 4]}
    architecture = describe("gcvit_tiny", {**small, "depths": [3, 2, 7, 3]}, 4)
    family = timm_family_of(architecture)
    torch.manual_seed(0)
    model: Any = build(architecture, (1, 1, 3, 1)).eval()
    for index in (3, 4):
        for layer in (model.stages[2].blocks[index].attn.proj, model.stages[2].blocks[index].mlp.fc2):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    images = torch.randn(2, 3, 64, 64)
    importance = block_importance(model, family, [images])
    assert importance[2][1] == pytest.approx(0, abs=1e-6)
    assert min(importance[2][0], importance[2][2]) > 1e-5
    shallower = build(architecture, (1, 1, 2, 1)).eval()
    keep_blocks(model, shallower, family, most_important(importance, (1, 1, 2, 1)))
    with torch.inference_mode():
        assert torch.allclose(shallower(images), model(images), atol=1e-6)


def test_stages_lose_blocks_each() -> None:
    architecture = describe("swin_tiny_patch4_window7_224", SWIN, 4)
    family = timm_family_of(architecture)
    torch.manual_seed(0)
    model = build(architecture, (2, 2, 6, 2)).eval()
    importance = block_importance(model, family, [torch.randn(2, 3, 32, 32)])
    assert [len(each) for each in importance] == [2, 2, 6, 2]
    assert all(value > 0 for each in importance for value in each)
    kept = most_important(importance, (2, 1, 4, 2))
    shallower = build(architecture, (2, 1, 4, 2))
    keep_blocks(model, shallower, family, kept)
    mine, theirs = shallower.state_dict(), model.state_dict()
    for index, source in enumerate(kept[2]):
        name = "layers.2.blocks.{}.mlp.fc1.weight"
        assert torch.equal(mine[name.format(index)], theirs[name.format(source)])
    assert torch.equal(mine["layers.1.downsample.reduction.weight"], theirs["layers.1.downsample.reduction.weight"])


@given(values=st.lists(st.floats(0, 2), min_size=1, max_size=12), data=st.data())
def test_those_that_stay_are_no_less_important_than_those_that_go(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(values)))
    (kept,) = most_important((tuple(values),), (count,))
    assert list(kept) == sorted(set(kept))
    assert len(kept) == count
    gone = [value for index, value in enumerate(values) if index not in kept]
    assert min(values[index] for index in kept) >= max(gone, default=0.0)


@pytest.mark.parametrize(
    ("whole", "keep", "expected"),
    [((12,), 4, (4,)), ((12,), 12, (12,)), ((2, 2, 6, 2), 3, (2, 2, 3, 2)), ((2, 2, 6, 2), (1, 1, 6, 1), (1, 1, 6, 1))],
)
def test_a_number_is_of_the_longest_stage(whole: Any, keep: Any, expected: Any) -> None:
    assert kept_profile(whole, keep, "it") == expected


@pytest.mark.parametrize(("whole", "keep"), [((12,), 13), ((2, 2, 6, 2), (2, 2, 6)), ((2, 2, 6, 2), (2, 3, 6, 2))])
def test_no_more_blocks_stay_than_there_are(whole: Any, keep: Any) -> None:
    with pytest.raises(DepthError, match=r"'it' has .* blocks, of which .* cannot be kept") as caught:
        kept_profile(whole, keep, "it")
    assert caught.value.fields == ("init",)
