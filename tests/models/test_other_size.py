"""An auxiliary model on images of other sizes computes what the resampled learngene does, and its tables learn there."""

from functools import cache
from typing import Any

import pytest
import torch
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor

from tests.models.test_families import EXAMPLES, images_for, learngene_of
from tleg.errors import ArchitectureError
from tleg.learngene.families import families
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.learngene import Learngene
from tleg.models.other_size import OtherSize, table_matrix

TABLES = ("vit_relpos_small_patch16_224", {**EXAMPLES["vit-relpos"][1], "rel_pos_type": "bias"})
SHARED = ("vit_srelpos_small_patch16_224", EXAMPLES["vit-relpos"][1])
# Windows are the same in the first stages, and the whole map in the last, as in Swin-T at 224 pixels.
SWIN = {**EXAMPLES["swin"][1], "img_size": 64}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: EXAMPLES[name]
        for name in ("swinv2-cr", "beit", "vit-relpos", "cait", "pit", "twins", "twins-svt", "twins-svt-s", "hiera")
    },
    "swin": ("swin_tiny_patch4_window7_224", SWIN),
    "swin-v2": ("swinv2_tiny_window8_256", SWIN),
    "relpos-tables": TABLES,
    "srelpos": SHARED,
}
# What the size of a model is multiplied with.
FACTORS = {"pit": ((1, 2), (3, 2)), "swinv2-cr": ((1, 2), (3, 2)), "swin": ((1, 2), (5, 4))}
OF_POSITIONS = ("relative_position_bias_table", "pos_embed")


@cache
def made(key: str) -> Learngene:
    return learngene_of(*MODELS[key])


def test_every_family_that_says_so_is_tried_here() -> None:
    assert {name for name in MODELS if name in EXAMPLES} == {family.name for family in families() if family.resampled}


@pytest.mark.parametrize("key", MODELS)
@pytest.mark.parametrize("index", [0, 1])
def test_it_computes_what_the_resampled_learngene_does(key: str, index: int) -> None:
    learngene = made(key)
    height, _ = learngene.header.image_size
    over, under = FACTORS.get(key, ((1, 2), (2, 1)))[index]
    size = (height * over // under, height * over // under)
    model = AuxiliaryModel.from_learngene(learngene).eval()
    names = list(model.state_dict())
    own = images_for(learngene)
    before = model(own, model.coefficients(2), model.profile(2))
    model.take_sizes([size])
    assert torch.equal(model(own, model.coefficients(2), model.profile(2)), before)
    assert list(model.state_dict()) == names
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))
    logits = model(images, model.coefficients(3), model.profile(3))
    with torch.inference_mode():
        expected = learngene.at_image_size(size).expand(3)(images)
    assert torch.allclose(logits, expected, rtol=0, atol=1e-5)
    # What is resampled learns from it: every value that has a part in the new ones.
    logits.square().sum().backward()
    for name, value in model.named_parameters():
        if name.replace("/", ".").endswith(OF_POSITIONS):
            assert value.grad is not None, name
            assert value.grad.abs().max() > 0, name


def test_images_that_are_not_square() -> None:
    learngene = made("beit")
    model = AuxiliaryModel.from_learngene(learngene).eval()
    model.take_sizes([(24, 40)])
    images = torch.randn(2, 3, 24, 40)
    expected = learngene.at_image_size((24, 40)).expand(2)(images)
    assert torch.allclose(model(images, model.coefficients(2)), expected, atol=1e-5)


def test_windows_that_stay_need_no_other_table() -> None:
    # At 64 pixels maps are 32, 16, 8 and 4, of windows of 4; at 32 the last map is of 2, and so is its window.
    own = describe("swin_tiny_patch4_window7_224", SWIN)
    assert not [*_matrices(OtherSize(own, (128, 128)))]
    (last,) = _matrices(OtherSize(own, (32, 32)))
    assert last.shape == (3 * 3, 7 * 7)


def _matrices(other: OtherSize) -> list[Tensor]:
    return [value for name, value in other.named_buffers(recurse=False) if name.startswith("matrix/")]


@pytest.mark.parametrize(("before", "after", "extra"), [(4, 7, 0), (7, 4, 0), (7, 5, 3)])
@pytest.mark.filterwarnings("ignore")  # Of timm's interpolation.
def test_a_table_is_resampled_as_timm_does(before: int, after: int, extra: int) -> None:
    old, new = ((2 * window - 1) ** 2 + extra for window in (before, after))
    table = torch.randn(old, 6)
    expected = resize_rel_pos_bias_table(table, new_window_size=(after, after), new_bias_shape=(new, 6))
    assert torch.allclose(table_matrix(old, new, (after, after)) @ table, expected, atol=1e-6)


def test_what_no_rule_resamples_is_refused_by_name() -> None:
    own = describe("beit_base_patch16_224", {**EXAMPLES["beit"][1], "use_abs_pos_emb": True})
    with pytest.raises(ArchitectureError, match=r"takes no images of 16 pixels: its 'pos_embed' would be of another shape"):
        OtherSize(own, (16, 16))


def test_windows_follow_timm_for_images_of_other_shapes() -> None:
    own = describe("swin_tiny_patch4_window7_224", {**SWIN, "img_size": [32, 64]})
    with pytest.raises(ArchitectureError, match="timm resamples what was learned on square images, and these were 32x64"):
        OtherSize(own, (16, 32))
