"""Shallower models by dropping blocks: how much each block changes what it is given, and a model of those that do most.

The importance of a block is the mean distance 1 - cos(input, output) over tokens: a block that hands on what it gets can be
missed (block influence: Men et al., arXiv 2403.03853; as in the depth pruning of Minitron, arXiv 2407.14679). All blocks are
measured once, in the whole model.
"""

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from tleg.errors import DepthError
from tleg.learngene.header import Profile
from tleg.learngene.profile import Depth, check_profile, format_depth
from tleg.models.timm_family import TimmFamily, ends_of

Importance = tuple[tuple[float, ...], ...]  # Of the blocks of each stage.
_LEAST: Final = 1e-12


@torch.inference_mode()
def block_importance(model: Any, family: TimmFamily, batches: Iterable[Tensor]) -> Importance:
    """Return the importance of the blocks of each stage, the mean over batches of normalised images (N, C, H, W)."""
    blocks = [block for stage in range(len(family.stages)) for block in family.blocks(model, stage)]
    channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    sums, counts = [0.0] * len(blocks), [0] * len(blocks)

    def measure(index: int, given: Any, output: Any) -> None:
        before, after = (_tokens(each, channels_last=channels_last) for each in (given, output))
        sums[index] += float((1 - cosine_similarity(before, after, dim=-1, eps=_LEAST)).double().sum())
        counts[index] += len(before)

    inputs: dict[int, Any] = {}

    def before(index: int) -> Any:
        return lambda _module, given: inputs.update({index: given[0]})

    def after(index: int) -> Any:
        return lambda _module, _given, output: measure(index, inputs.pop(index), output)

    ends = [ends_of(block) for block in blocks]
    hooks = [first.register_forward_pre_hook(before(index)) for index, (first, _) in enumerate(ends)]
    hooks += [last.register_forward_hook(after(index)) for index, (_, last) in enumerate(ends)]
    try:
        for images in batches:
            model(images)
    finally:
        for each in hooks:
            each.remove()
    means = iter([total / max(count, 1) for total, count in zip(sums, counts, strict=True)])
    return tuple(tuple(next(means) for _ in family.blocks(model, stage)) for stage in range(len(family.stages)))


def _tokens(value: Any, *, channels_last: bool) -> Tensor:
    """What a block takes or gives as (tokens, features)."""
    first: Tensor = value[0] if isinstance(value, tuple | list) else value
    if first.ndim == 4 and not channels_last:
        first = first.permute(0, 2, 3, 1)
    return first.flatten(0, -2).float()


def kept_profile(whole: Profile, keep: Depth, name: str) -> Profile:
    """Return how many blocks of each stage stay: of several stages a number is that of the longest.

    Raises DepthError for more than there are, or other stages.
    """
    longest = whole.index(max(whole))
    if isinstance(keep, tuple):
        profile = check_profile(keep)
    else:
        profile = tuple(keep if stage == longest else blocks for stage, blocks in enumerate(whole))
    if len(profile) != len(whole) or any(kept > there for kept, there in zip(profile, whole, strict=False)):
        raise DepthError(
            f"'{name}' has {format_depth(whole)} blocks, of which {format_depth(keep)} cannot be kept", field="init"
        )
    return profile


def most_important(importance: Importance, profile: Profile) -> tuple[tuple[int, ...], ...]:
    """Return the blocks of each stage that stay, in their order: those of the greatest importance, the first of equals."""
    chosen = []
    for values, count in zip(importance, profile, strict=True):
        ranked = sorted(range(len(values)), key=lambda index: (-values[index], index))
        chosen.append(tuple(sorted(ranked[:count])))
    return tuple(chosen)


def keep_blocks(model: nn.Module, shallower: nn.Module, family: TimmFamily, kept: tuple[tuple[int, ...], ...]) -> None:
    """Give a model of fewer blocks the weights of those of another that stay, and everything else of it."""
    state = {name: value for name, value in family.state_by_stages(model).items() if not family.is_block(name)}
    for stage, chosen in enumerate(kept):
        blocks = family.blocks(model, stage)
        for index, source in enumerate(chosen):
            state |= {family.layer_name(stage, index, inner): each for inner, each in blocks[source].state_dict().items()}
    profile = tuple(map(len, kept))
    shallower.load_state_dict({family.timm_name(name, profile): value for name, value in state.items()}, strict=True)
