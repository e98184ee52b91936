"""Modules without values are, but for those, what timm makes."""

import pytest
import timm
import torch

from tests.models.test_families import EXAMPLES
from tleg.models.without_values import without_values


@pytest.mark.parametrize("family", ["vit", "swin", "convnext", "beit", "pvt-v2"])
def test_names_shapes_and_types_are_timms(family: str) -> None:
    name, arguments = EXAMPLES[family]
    arguments = {key: value for key, value in arguments.items() if family in ("vit", "swin", "beit") or key != "img_size"}
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with without_values():
        model = timm.create_model(name, **arguments)
    assert torch.equal(torch.get_rng_state(), before), "nothing is drawn"
    usual = timm.create_model(name, **arguments)
    for ours, theirs in (
        (model.named_parameters(), usual.named_parameters()),
        (model.named_buffers(), usual.named_buffers()),
    ):
        assert [(key, value.shape, value.dtype, value.requires_grad) for key, value in ours] == [
            (key, value.shape, value.dtype, value.requires_grad) for key, value in theirs
        ]
    assert all(value.is_meta for value in model.parameters())


def test_tensors_that_have_values_change_as_ever() -> None:
    own = torch.zeros(3, device="cpu")
    with without_values():
        own.add_(2).mul_(3)
        torch.nn.init.constant_(own[:1], 1.0)
        assert torch.empty(4).uniform_().is_meta
    assert own.tolist() == [1.0, 6.0, 6.0]
