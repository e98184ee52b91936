"""Learngenes with inputs of another size: what timm would make of a descendant, and what it costs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import resample_abs_pos_embed

from tests.models.levels import registered
from tests.models.test_families import EXAMPLES, a_learngene, learngene_of
from tleg.errors import ArchitectureError
from tleg.learngene.basis import parse_basis
from tleg.models.architecture import describe, load_state, timm_family_of
from tleg.models.descendant import expand
from tleg.models.flops import count_macs
from tleg.models.image_size import resize
from tleg.models.learngene import Learngene

# Families whose weights depend on the size in a way that nobody resamples.
NEVER = ("nest", "volo", "mlp-mixer")
# Those that stand for all others here; the rest takes a minute.
FAST = ("vit", "eva", "beit", "swin", "convnext", "cait", "pit", "levels")
# Whose position embeddings timm leaves as they are when it loads weights for other images.
NOT_TIMMS = ("cait", "pit", "hiera")
PLAIN = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}


@pytest.fixture(
    params=[name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES if name not in NEVER]
)
def learngene(request: pytest.FixtureRequest) -> Iterator[Learngene]:
    """One of each family."""
    with registered():
        yield a_learngene(timm_family_of(describe(*EXAMPLES[request.param])), parse_basis("chebyshev:2"))


def plain(**arguments: Any) -> Learngene:
    return learngene_of("vit_tiny_patch16_224", {**PLAIN, **arguments})


def family_name(learngene: Learngene) -> str:
    return timm_family_of(learngene.header.architecture).name


@pytest.mark.parametrize("times", [(2, 2), (2, 3), (1, 2)])
def test_a_descendant_is_what_timm_loads_at_that_size(learngene: Learngene, times: tuple[int, int]) -> None:
    height, width = learngene.header.image_size
    if family_name(learngene) == "mvit-v2" and times[0] != times[1]:
        pytest.skip("timm makes it for square images alone")
    size = (height * times[0], width * times[1])
    resized = resize(learngene, size)
    assert resized.header.image_size == size
    assert resized.header.sha256 == learngene.header.sha256
    model = expand(resized, 3)
    if family_name(learngene) not in NOT_TIMMS:
        profile = resized.header.architecture.profile(3)
        loaded = load_state(resized.header.architecture, profile, expand(learngene, 3).state_dict())
        state = model.state_dict()
        assert loaded.keys() == state.keys()
        for name, value in loaded.items():
            torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
    images = torch.randn(2, learngene.header.architecture.input_size[0], *size)
    with torch.inference_mode():
        logits = model(images)
        assert torch.allclose(resized.elastic()(images, 3), logits, atol=1e-5)
    assert logits.isfinite().all()
    # Exactly what it costs there, at depths that nobody measured.
    cost = resized.header.cost.at(3)
    assert cost.parameters == sum(value.numel() for value in model.parameters())
    assert cost.macs == count_macs(model, images[:1])[""]
    resized.verify()


def test_there_and_back_is_near_what_it_was(learngene: Learngene) -> None:
    height, width = learngene.header.image_size
    there = resize(learngene, (2 * height, 2 * width))
    back = resize(there, (height, width))
    architecture = learngene.header.architecture
    # Which size the names implied is stated now.
    stated = {**architecture.arguments, "img_size": back.header.architecture.arguments["img_size"]}
    assert back.header == replace(learngene.header, architecture=replace(architecture, arguments=stated))
    assert back.tensors.keys() == learngene.tensors.keys()
    for name, values in learngene.tensors.items():
        assert back.tensors[name].shape == values.shape
    assert resize(learngene, (height, width)) is learngene


@pytest.mark.parametrize("size", [(16, 64), (64, 16), (32, 64)])
def test_positions_of_a_plain_vit_that_is_not_square(size: tuple[int, int]) -> None:
    # Of 8 x 32 pixels there are as many patches as of 16 x 16, in another arrangement.
    learngene = plain(img_size=[16, 64], class_token=True, reg_tokens=2)
    resized = resize(learngene, size)
    old = torch.from_numpy(learngene.tensors["pos_embed"])
    grid = [size[0] // 8, size[1] // 8]
    expected = resample_abs_pos_embed(old, new_size=grid, old_size=[2, 8], num_prefix_tokens=3)
    assert np.array_equal(resized.tensors["pos_embed"], expected.numpy())
    assert np.array_equal(resized.tensors["pos_embed"][:, :3], learngene.tensors["pos_embed"][:, :3])
    if size == (64, 16):
        assert not np.allclose(resized.tensors["pos_embed"], learngene.tensors["pos_embed"], atol=1e-3)


@pytest.mark.parametrize("name", NOT_TIMMS)
def test_positions_that_timm_leaves_alone_are_resampled(name: str) -> None:
    learngene = a_learngene(timm_family_of(describe(*EXAMPLES[name])))
    height, width = learngene.header.image_size
    # A ramp from left to right stays one.
    values = learngene.tensors["pos_embed"]
    ramp = np.zeros_like(values)
    side = values.shape[2] if values.ndim == 4 else int(values.shape[1] ** 0.5)
    column = np.linspace(-1, 1, side, dtype=np.float32)
    if values.ndim == 4:
        ramp += column
    else:
        ramp += np.tile(column, side)[None, :, None]
    larger = resize(Learngene(learngene.header, {**learngene.tensors, "pos_embed": ramp}), (height, 2 * width))
    found = larger.tensors["pos_embed"]
    rows = found[0, 0] if found.ndim == 4 else found[0, :, 0].reshape(side, -1)
    assert rows.shape[0] == side
    assert rows.shape[1] > side
    assert np.allclose(rows, rows[0], atol=1e-5)
    assert (np.diff(rows[0]) > 0).all()


@pytest.mark.parametrize(
    ("name", "arguments", "size", "reason"),
    [
        ("vit_tiny_patch16_224", PLAIN, (33, 32), "an image of 33 x 32 pixels .* patches of 8 x 8; one of 32 x 32 does$"),
        (
            "vit_small_patch16_dinov3",
            PLAIN,
            (36, 36),
            "an image of 36 x 36 pixels .* patches of 8 x 8; one of 40 x 40 does$",
        ),
        ("convnext_atto", EXAMPLES["convnext"][1], (16, 16), "'convnext_atto' takes no images of 16 pixels: .*Kernel size"),
        (*EXAMPLES["swin"], (16, 64), "as many pixels as 32x32 in another shape"),
        (*EXAMPLES["mlp-mixer"], (64, 64), r"timm does not resample its 'blocks.0.mlp_tokens.fc1.weight'$"),
        (*EXAMPLES["volo"], (64, 64), "timm does not resample its 'pos_embed'$"),
        (*EXAMPLES["hiera"], (96, 80), "does not divide into mask units of 32 x 32; one of 96 x 96 does$"),
        (*EXAMPLES["nest"], (64, 64), r"timm does not resample its 'levels.0.pos_embed'$"),
        ("cait_xxs24_224", {**PLAIN, "img_size": [32, 64]}, (32, 32), "learned on square images, and these were 32x64"),
    ],
)
def test_sizes_that_cannot_be_are_refused(name: str, arguments: dict[str, Any], size: tuple[int, int], reason: str) -> None:
    learngene = learngene_of(name, arguments)
    with pytest.raises(ArchitectureError, match=reason) as caught:
        resize(learngene, size)
    assert caught.value.field == "image-size"
    assert "model-arg" not in str(caught.value)
