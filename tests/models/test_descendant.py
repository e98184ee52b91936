"""What descendants are compared with."""

from typing import Any

import pytest
import torch
from torch import nn

from tleg.errors import InputError
from tleg.learngene.basis import Basis
from tleg.models.descendant import baseline

ARGUMENTS = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "num_heads": 4}


def test_layer_skip_takes_layers_of_the_auxiliary(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    auxiliary = learngene.expand(12).blocks
    model = baseline(learngene, 5, "layer-skip", num_classes=7)
    for index, place in enumerate((0, 2, 4, 7, 9)):
        for name, value in model.blocks[index].state_dict().items():
            assert torch.equal(value, auxiliary[place].state_dict()[name])
    # Where the depth divides the auxiliary's, the expansion takes the same layers.
    assert all(
        torch.equal(value, learngene.expand(4).state_dict()[name])
        for name, value in baseline(learngene, 4, "layer-skip", num_classes=7).state_dict().items()
    )


def test_layer_skip_repeats_layers_when_it_is_deeper(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(auxiliary_depth=2)
    blocks = baseline(learngene, 4, "layer-skip", num_classes=7).blocks
    first, second, third, fourth = (block.state_dict()["mlp.fc1.weight"] for block in blocks)
    assert torch.equal(first, second)
    assert torch.equal(third, fourth)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("basis", [Basis(), Basis("cosine", degree=2), Basis("piecewise", boundaries=(0.5,))])
def test_shared_layers_are_equal(tiny_learngene: Any, basis: Basis) -> None:
    learngene = tiny_learngene(basis=basis)
    before = learngene.hash()
    blocks = [block.state_dict() for block in baseline(learngene, 4, "share", num_classes=7).blocks]
    for name, value in blocks[0].items():
        assert all(torch.equal(value, block[name]) for block in blocks[1:])
        terms = torch.from_numpy(learngene.terms[name])
        expected = terms.mean(0) if basis.name == "piecewise" else terms[0]
        torch.testing.assert_close(value, expected)
    assert learngene.hash() == before


def blocks_of(model: nn.Module) -> list[Any]:
    """The blocks of a ViT; torch's annotations say nothing of what is inside."""
    return list(model.get_submodule("blocks").children())


def test_scratch_knows_nothing_of_the_learngene(tiny_learngene: Any) -> None:
    learngene = tiny_learngene()
    torch.manual_seed(3)
    model = baseline(learngene, 3, "scratch", num_classes=5, drop_path=0.2)
    torch.manual_seed(3)
    again = baseline(learngene, 3, "scratch", num_classes=5)
    assert model.state_dict().keys() == learngene.expand(3).state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.patch_embed.proj.weight, learngene.expand(3).patch_embed.proj.weight)
    assert model.head.weight.shape == (5, 48)
    assert [round(block.drop_path1.drop_prob, 2) for block in blocks_of(model)[1:]] == [0.1, 0.2]


def test_mimetic_attention_looks_at_itself_and_takes_away(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(arguments=ARGUMENTS)
    torch.manual_seed(0)
    heads = [slice(start, start + 16) for start in range(0, 64, 16)]
    found = {}
    for init in ("scratch", "mimetic"):
        block = blocks_of(baseline(learngene, 2, init, num_classes=7))[1]
        queries, keys, values = block.attn.qkv.weight.detach().split(64)
        projection = block.attn.proj.weight.detach()
        # What a head can do is a product of rank 16: its trace by 16 says how near it is to the identity.
        scores = [float(torch.trace(queries[rows].T @ keys[rows])) / 16 for rows in heads]
        outputs = [float(torch.trace(projection[:, rows] @ values[rows])) / 16 for rows in heads]
        found[init] = scores, outputs
    scores, outputs = found["scratch"]
    assert max(map(abs, scores + outputs)) < 0.01
    scores, outputs = found["mimetic"]
    assert min(scores) > 0.5
    # Singular values fall, so the first head takes away most and the last least.
    assert max(outputs) < -0.05
    # All heads together are the whole product, whose noise has a trace near zero.
    assert sum(outputs) / 4 == pytest.approx(-0.4, abs=0.05)


def test_mimetic_positions_are_sines_and_cosines(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(arguments={**ARGUMENTS, "class_token": True, "global_pool": "token"})
    torch.manual_seed(1)
    scratch = baseline(learngene, 2, "scratch", num_classes=7).pos_embed
    torch.manual_seed(1)
    positions = baseline(learngene, 2, "mimetic", num_classes=7).pos_embed
    assert scratch is not None
    assert positions is not None
    assert positions.requires_grad
    # sin^2 + cos^2 = 1 for each of 32 pairs, at every patch; and a patch is nearest to itself.
    patches = positions[0, 1:].detach()
    torch.testing.assert_close(patches.square().sum(1), torch.full((16,), 32.0))
    assert torch.equal((patches @ patches.T).argmax(1), torch.arange(16))
    assert torch.equal(positions[0, 0], scratch[0, 0])


def test_mimetic_needs_sines_and_cosines_of_two_directions(tiny_learngene: Any) -> None:
    learngene = tiny_learngene(arguments={"embed_dim": 42, "num_heads": 3})
    with pytest.raises(InputError, match="a width that 4 divides; choose --init scratch"):
        baseline(learngene, 2, "mimetic", num_classes=7)


def test_an_unknown_baseline_is_refused(tiny_learngene: Any) -> None:
    with pytest.raises(InputError, match=r"unknown init 'mimetc': choose .* Did you mean 'mimetic'"):
        baseline(tiny_learngene(), 3, "mimetc", num_classes=7)


def test_all_that_is_no_parameter_is_in_float16_too(tiny_learngene: Any) -> None:
    """BEiT adds zeros for the bias of keys to biases of queries and values."""
    model = tiny_learngene("beit_base_patch16_224").expand(2, dtype="float16")
    assert {value.dtype for value in (*model.parameters(), *model.buffers())} == {torch.float16, torch.int64}
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 32, 32, dtype=torch.float16)).dtype == torch.float16
