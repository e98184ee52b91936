"""Parts of a model that fine-tuning leaves as they are."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import nn

from tleg.errors import InputError

_STEM = ("patch_embed", "cls_token", "reg_token", "pos_embed", "norm_pre", "dist_token", "stem", "conv1", "bn1")


def freeze(model: nn.Module, frozen: Sequence[tuple[str, int | None]]) -> tuple[str, ...]:
    """Train neither stem nor blocks nor head, as asked, and return the names of the parameters that are left alone.

    frozen  pairs as `FinetuneRecipe.frozen` gives them: 'stem', 'blocks' (None: all, else the first so many), 'head'

    Raises InputError when the model has no such part, not as many blocks, or nothing is left to train.
    """
    chosen: set[str] = set()
    for part, count in frozen:
        names = set(_names(model, part, count))
        if not names:
            raise InputError(f"{type(model).__name__} has no {part} that could be frozen")
        chosen |= names
    for name, value in model.named_parameters():
        if name in chosen:
            value.requires_grad_(False)
    if not any(value.requires_grad for value in model.parameters()):
        raise InputError("everything is frozen; leave something to train")
    return tuple(name for name, _ in model.named_parameters() if name in chosen)


def _names(model: nn.Module, part: str, count: int | None) -> Iterator[str]:
    if part == "stem":
        yield from _under(model, _STEM)
    elif part == "head":
        config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
        classifier = config.get("classifier") or "head"
        yield from _under(model, (classifier,) if isinstance(classifier, str) else classifier)
    else:
        blocks = getattr(model, "blocks", None)
        if not isinstance(blocks, nn.Module):
            return
        depth = len(list(blocks.children()))
        if count is not None and not 1 <= count <= depth:
            raise InputError(f"freeze has blocks:{count}, and the model has {depth} blocks")
        yield from _under(model, tuple(f"blocks.{index}" for index in range(depth if count is None else count)))


def _under(model: nn.Module, prefixes: Iterable[str]) -> Iterator[str]:
    for name, _ in model.named_parameters():
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes):
            yield name
