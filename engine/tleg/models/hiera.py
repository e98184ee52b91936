"""timm's Hiera: stages as spans of its one row of blocks."""

import math
from itertools import pairwise
from typing import Any

from torch import nn

from tleg.learngene import staged
from tleg.models.timm_family import Tiles, TimmFamily


class TimmHiera(staged.Hiera, TimmFamily):
    """Where a stage ends in the row is what timm's model says; it is kept right when blocks are taken out."""

    def _children(self, model: nn.Module, stage: int) -> list[nn.Module]:
        start, stop = _spans(model, len(self.stages))[stage]
        return list(model.get_submodule(self.row).children())[start:stop]

    def _put(self, model: Any, stage: int, *modules: nn.Module) -> None:
        start, stop = _spans(model, len(self.stages))[stage]
        blocks = list(model.get_submodule(self.row).children())
        now = [*blocks[start : start + self.stages[stage].first], *modules]
        setattr(model, self.row, nn.ModuleList([*blocks[:start], *now, *blocks[stop:]]))
        more = len(now) - (stop - start)
        model.stage_ends = [end + more * (index >= stage) for index, end in enumerate(model.stage_ends)]

    @property
    def row(self) -> str:
        """The module of timm's model that has the blocks."""
        return staged.Hiera.one_row.rstrip(".")

    def tiles(self, model: Any) -> Tiles:
        """Mask units, and what is pooled into one place by the last stage, in pixels."""
        rows, columns = (
            stride * math.lcm(unit, pooled ** (len(self.stages) - 1))
            for stride, unit, pooled in zip(model.patch_stride, model.mask_unit_size, model.q_stride, strict=True)
        )
        advice = f"choose another img_size, as in --model-arg img_size={2 * rows}"
        return Tiles("mask units", (rows, columns), (rows, columns), advice)


def _spans(model: Any, stages: int) -> list[tuple[int, int]]:
    """Where the blocks of each stage begin and end in the row. Raises AttributeError where there are other stages."""
    if len(model.stage_ends) != stages:
        raise AttributeError(f"the model has {len(model.stage_ends)} stages, not {stages}")
    return [*pairwise((0, *(end + 1 for end in model.stage_ends)))]
