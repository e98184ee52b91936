"""What a family of descendants costs and reaches, depth by depth, from a learngene's header alone. No numpy, no torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tleg.errors import InputError
from tleg.learngene.cost import Budget, DepthCost
from tleg.learngene.header import LearngeneHeader


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One depth.

    cost       parameters, MACs, bytes
    top1       accuracy without fine-tuning in percent, where it was measured
    auxiliary  whether it is the depth of the auxiliary model
    trained    whether the learngene was trained at this depth: the auxiliary's, or one of those sampled
    exceeds    the limits of the budget that it exceeds, by their names in `Budget`
    """

    cost: DepthCost
    top1: float | None
    auxiliary: bool
    trained: bool
    exceeds: tuple[str, ...]

    @property
    def depth(self) -> int:
        """The depth."""
        return self.cost.depth

    @property
    def fits(self) -> bool:
        """Whether it is within the budget."""
        return not self.exceeds


@dataclass(frozen=True, slots=True)
class Preview:
    """Depths of one learngene, rising, with memory for a batch of so many images, judged by a budget."""

    rows: tuple[PreviewRow, ...]
    budget: Budget
    batch: int

    @property
    def deepest(self) -> PreviewRow | None:
        """The deepest row within the budget; None when there is no budget, or none fits."""
        if not self.budget.limited:
            return None
        return max((row for row in self.rows if row.fits), key=lambda row: row.depth, default=None)

    @property
    def gmacs_decimals(self) -> int:
        """Decimals with which GMACs are written, the same for all rows: three digits of the smallest say something."""
        smallest = min(row.cost.macs for row in self.rows) / 1e9
        return min(9, max(2, 2 - math.floor(math.log10(smallest)))) if smallest > 0 else 3


def preview(header: LearngeneHeader, depths: Iterable[int], budget: Budget | None = None, batch: int = 1) -> Preview:
    """Return what descendants of these depths cost and reach.

    Raises DepthError for a depth out of range, InputError when there are no depths or the batch is smaller than 1.
    """
    budget = budget or Budget()
    chosen = sorted(set(depths))
    if not chosen:
        raise InputError("name at least one depth", field="depths", code="missing")
    trained = {header.auxiliary.depth, *header.auxiliary.sampled_depths}
    rows = []
    for depth in chosen:
        cost = header.cost.at(depth, batch)
        top1 = header.reached.top1.get(depth) if header.reached else None
        rows.append(PreviewRow(cost, top1, depth == header.auxiliary.depth, depth in trained, budget.exceeded_by(cost)))
    return Preview(tuple(rows), budget, batch)
