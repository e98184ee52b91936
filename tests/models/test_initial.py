"""How much a block changes what it is given, when training starts."""

import pytest
import torch
from torch import nn

from tleg.models.architecture import build, describe
from tleg.models.initial import draw_matrices


def changes(width: int, how: str) -> list[float]:
    """By block of a new ViT, the size of what it adds, relative to what it adds it to."""
    arguments = {"img_size": 28, "patch_size": 7, "in_chans": 1, "embed_dim": width, "num_heads": width // 32}
    torch.manual_seed(0)
    model = build(describe("vit_tiny_patch16_224", arguments, 10), 6).eval()
    draw_matrices(list(model.blocks), how)
    found = []
    with torch.inference_mode():
        tokens = model.patch_embed(torch.randn(16, 1, 28, 28)) + model.pos_embed
        for block in model.blocks:
            result = block(tokens)
            found.append(((result - tokens).norm() / tokens.norm()).item())
            tokens = result
    return found


def test_blocks_of_narrow_models_hardly_act_with_the_matrices_of_timm() -> None:
    """The figures of docs/study.md."""
    assert changes(64, "timm")[0] == pytest.approx(0.05, abs=0.01)
    assert changes(384, "timm")[0] == pytest.approx(0.30, abs=0.03)
    assert changes(768, "timm")[0] == pytest.approx(0.64, abs=0.03)
    assert changes(64, "timm")[-1] < 0.07


def test_by_their_inputs_blocks_act_alike_at_any_width() -> None:
    narrow, wide = changes(64, "fan-in"), changes(384, "fan-in")
    assert narrow[0] == pytest.approx(1.3, abs=0.1)
    assert narrow == pytest.approx(wide, rel=0.15)


def test_all_but_the_matrices_of_linear_layers_stays() -> None:
    block = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Conv2d(1, 2, 3))
    before = {name: value.clone() for name, value in block.state_dict().items()}
    draw_matrices([block], "timm")
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    draw_matrices([block], "fan-in")
    changed = [name for name, value in block.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["0.weight"]
