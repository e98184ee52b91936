"""What a family of descendants costs and reaches, depth by depth, from a learngene's header alone. No numpy, no torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tleg.errors import InputError
from tleg.learngene.cost import Budget, DepthCost
from tleg.learngene.device import DeviceProfile
from tleg.learngene.feature_cosine import feature_cosine_in
from tleg.learngene.header import LearngeneHeader, Reached
from tleg.learngene.profile import Depth, Profile


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One depth with inputs of one size.

    image_size height and width of the inputs
    profile    blocks of each stage
    cost       parameters, MACs, bytes
    top1       accuracy without fine-tuning in percent, where it was measured
    auxiliary  whether it is the depth of the auxiliary model
    trained    whether the learngene was trained at this depth and size: the auxiliary's, or one of those sampled
    exceeds    the limits of the budget that it exceeds, by their names in `Budget`
    latency    median seconds for a batch on the device that was asked about; None where nothing says it
    cosine     with the teacher's features, where those are what was learned and it was measured with inputs of this size
    """

    image_size: tuple[int, int]
    profile: Profile
    cost: DepthCost
    top1: float | None
    auxiliary: bool
    trained: bool
    exceeds: tuple[str, ...]
    latency: float | None = None
    cosine: float | None = None

    @property
    def depth(self) -> Depth:
        """The depth."""
        return self.cost.depth

    @property
    def blocks(self) -> int:
        """Blocks in all stages."""
        return sum(self.profile)

    @property
    def fits(self) -> bool:
        """Whether it is within the budget."""
        return not self.exceeds


@dataclass(frozen=True, slots=True)
class Preview:
    """Depths of one learngene, those of the fewest blocks first, with memory for a batch of so many images, in a budget.

    With inputs of several sizes, all depths of the first come first.
    """

    rows: tuple[PreviewRow, ...]
    budget: Budget
    batch: int

    @property
    def deepest(self) -> PreviewRow | None:
        """The deepest row within the budget; None when there is no budget, or none fits."""
        if not self.budget.limited:
            return None
        return max((row for row in self.rows if row.fits), key=lambda row: (row.blocks, row.cost.macs), default=None)

    @property
    def sized(self) -> bool:
        """Whether there are inputs of several sizes."""
        return len({row.image_size for row in self.rows}) > 1

    @property
    def profiled(self) -> bool:
        """Whether there are depths that are profiles."""
        return any(isinstance(row.depth, tuple) for row in self.rows)

    @property
    def choice(self) -> PreviewRow | None:
        """What the budget allows that is best; None when there is no budget, or nothing fits.

        With inputs of one size it is the deepest. With several it is the most accurate of those that were measured, and the
        one that computes most where none of them was.
        """
        if not self.sized:
            return self.deepest
        fitting = [row for row in self.rows if row.fits] if self.budget.limited else []
        return max(fitting, key=lambda row: (-1 if row.top1 is None else row.top1, row.cost.macs), default=None)

    @property
    def gmacs_decimals(self) -> int:
        """Decimals with which GMACs are written, the same for all rows: three digits of the smallest say something."""
        smallest = min(row.cost.macs for row in self.rows) / 1e9
        return min(9, max(2, 2 - math.floor(math.log10(smallest)))) if smallest > 0 else 3


def preview(
    header: LearngeneHeader | Sequence[LearngeneHeader],
    depths: Iterable[Depth],
    budget: Budget | None = None,
    batch: int = 1,
    device: DeviceProfile | None = None,
) -> Preview:
    """Return what descendants of these depths cost and reach.

    header  of the learngene; with inputs of several sizes, its header at each
    device  what was measured of the learngene on a device, for the latency of each depth

    Raises DepthError for a depth out of range, InputError when there are no depths, the batch is smaller than 1, or the
    device was measured with another learngene, another batch or none of the sizes.
    """
    budget = budget or Budget()
    headers = [header] if isinstance(header, LearngeneHeader) else list(header)
    unique = dict.fromkeys(map(headers[0].architecture.simplest, depths))
    if not unique:
        raise InputError("name at least one depth", field="depths", code="missing")
    profiles = {depth: headers[0].architecture.profile(depth) for depth in unique}
    chosen = sorted(unique, key=lambda depth: (sum(profiles[depth]), profiles[depth]))
    rows = []
    if device is not None:
        _check_device(device, headers, batch)
    for each in headers:
        auxiliary, top1 = each.auxiliary, _comparable(each, headers)
        known = (auxiliary.depth, *auxiliary.sampled_depths) if auxiliary.trained_at(each.image_size) else ()
        features = feature_cosine_in(each.learned)
        cosines = features.figures if features is not None and features.image_size == each.image_size else {}
        trained = set(map(each.as_trained, known))
        for depth in chosen:
            cost = each.cost_at(depth, batch)
            latency = device.latency(depth) if device is not None and device.image_size == each.image_size else None
            rows.append(
                PreviewRow(
                    each.image_size,
                    profiles[depth],
                    cost,
                    top1.get(depth),
                    depth == auxiliary.depth,
                    depth in trained,
                    budget.exceeded_by(cost, latency),
                    latency,
                    cosines.get(depth),
                )
            )
    return Preview(tuple(rows), budget, batch)


def _check_device(device: DeviceProfile, headers: Sequence[LearngeneHeader], batch: int) -> None:
    fitting = [each for each in headers if each.image_size == device.image_size]
    first = (fitting or headers)[0]
    device.require(first.sha256, first.image_size)
    if device.batch != batch:
        raise InputError(
            f"the device was measured with a batch of {device.batch}, and the preview is for {batch}",
            field=("batch", "profile"),
            code="mismatch",
        )


def measured_for(headers: Sequence[LearngeneHeader]) -> Reached | None:
    """The accuracies that a preview of some sizes shows: the first that are shown at any of them."""
    return next((each.reached for each in headers if each.reached is not None), None)


def _comparable(header: LearngeneHeader, headers: Sequence[LearngeneHeader]) -> Mapping[Depth, float]:
    """The accuracies of a header that were measured as those that are shown: on the same images in the same precision."""
    shown = measured_for(headers)
    return {} if shown is None else next((each.by_depth for each in header.measured if each.where == shown.where), {})
