"""The frontier: what descendants reach against what they cost, as points, from a preview alone. Standard library only."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from tleg.axes import enough_ticks
from tleg.learngene.preview import Preview, PreviewRow
from tleg.learngene.profile import Depth, format_depth, format_depths
from tleg.text import format_bytes, format_count, format_image_size, format_latency, without_zeros

# Where more is known of the figures below each other than this, an outlier far below hides how the others differ.
_LEAST_SPAN: Final = 2.0
_OUTLYING: Final = 3.0

Kind = Literal["trained", "expanded", "tuned"]


@dataclass(frozen=True, slots=True)
class CostAxis:
    """A cost that accuracy is drawn against.

    label  of it, in words
    limit  the field of a budget that limits it
    write  how a value is written
    cost   of a row; None where it is not known
    """

    label: str
    limit: str
    write: Callable[[float], str]
    cost: Callable[[PreviewRow], float | None]
    batch: bool = False  # Whether it is that of a batch.

    def tick(self, value: float) -> str:
        """A round value, as it is written beside an axis."""
        return without_zeros(self.write(value)) if value else "0"


AXES: Final[Mapping[str, CostAxis]] = MappingProxyType(
    {
        "params": CostAxis("parameters", "parameters", format_count, lambda row: row.cost.parameters),
        "macs": CostAxis("MACs of an image", "macs", format_count, lambda row: row.cost.macs),
        "size": CostAxis("size of the float32 weights", "size", format_bytes, lambda row: row.cost.size),
        "memory": CostAxis(
            "memory of inference", "inference_memory", format_bytes, lambda row: row.cost.inference_memory, batch=True
        ),
        "latency": CostAxis("latency", "latency", format_latency, lambda row: row.latency, batch=True),
    }
)


class TunedPoint(NamedTuple):
    """What fine-tuning a descendant reached: the data set, height and width of the inputs, depth, accuracy in percent."""

    data: str
    image_size: tuple[int, int]
    depth: Depth
    top1: float


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A descendant on the picture.

    name        its depth; with inputs of several sizes '8 at 160'
    image_size  height and width of its inputs
    cost, top1  where it lies; top1 is in percent
    kind        'trained' where the learngene was trained at its depth and size, 'expanded' at others, 'tuned' after
                fine-tuning
    data        the data set of fine-tuning
    fits        whether it is within the budget, and `chosen` whether it is what the budget picks, or a person chose
    """

    name: str
    image_size: tuple[int, int]
    cost: float
    top1: float
    kind: Kind
    data: str
    fits: bool
    chosen: bool


@dataclass(frozen=True, slots=True)
class Frontier:
    """Accuracy over one cost.

    label       what the cost is
    points      by rising cost, of each size and data set
    limit       of the budget on this cost
    chosen      cost of what is chosen, which may have no accuracy
    unmeasured  depths without an accuracy, `uncosted` those whose cost on this axis is not known: they are no points
    over        depths beyond the budget

    Without a point there are no axes.
    """

    axis: CostAxis
    label: str
    points: tuple[FrontierPoint, ...]
    limit: float | None
    chosen: float | None
    unmeasured: str
    uncosted: str
    over: str

    @property
    def costs(self) -> tuple[float, float]:
        """The ends of the horizontal axis: from 0, but where all costs are alike; a limit that is near is on it."""
        values = [point.cost for point in self.points]
        low, high = min(values), max(values)
        if self.limit is not None and high < self.limit <= 1.3 * high:
            high = self.limit
        room = 0.05 * (high - low) or 0.5 * high or 1.0
        return (0.0 if low < 0.5 * high else low - room), high + room

    @property
    def shown_limit(self) -> float | None:
        """The limit where it is on the horizontal axis."""
        low, high = self.costs
        return self.limit if self.limit is not None and low <= self.limit <= high else None

    @property
    def floor(self) -> float:
        """The accuracy below which points are outliers that the picture does not reach down to.

        A learngene's first layers alone often are far below the others, whose differences are what is looked for.
        """
        found = sorted(point.top1 for point in self.points)
        quarter = found[len(found) // 4]
        return found[-1] - _OUTLYING * max(2 * (found[-1] - quarter), _LEAST_SPAN)

    @property
    def below(self) -> tuple[FrontierPoint, ...]:
        """The outliers."""
        return tuple(point for point in self.points if point.top1 < self.floor)

    @property
    def accuracies(self) -> tuple[float, float]:
        """The ends of the vertical axis, in percent."""
        values = [point.top1 for point in self.points if point.top1 >= self.floor]
        low, high = min(values), max(values)
        room = max(0.08 * (high - low), 0.25)
        return max(low - room, 0.0), min(high + room, 100.0)

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Those of fine-tuned points."""
        return tuple(dict.fromkeys(point.data for point in self.points if point.kind == "tuned"))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about what the picture cannot show."""
        below = ", ".join(f"{point.name} ({point.top1:.1f} %)" for point in self.below)
        return tuple(
            f"{said}: depth {named}"
            for said, named in (
                ("below the picture", below),
                ("without an accuracy, so not shown", self.unmeasured),
                (f"without a known {self.axis.label}, so not shown", self.uncosted),
                ("over the budget", self.over),
            )
            if named
        )

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round costs within the axis, and how they are written."""
        return [(value, self.axis.tick(value)) for value in enough_ticks(*self.costs, most)]


def make_frontier(
    preview: Preview, axis: str, chosen: PreviewRow | None = None, tuned: Iterable[TunedPoint] = ()
) -> Frontier:
    """Return what a preview's descendants reach over a cost.

    axis    one of AXES
    chosen  the row that is marked; None: what the budget picks
    tuned   what fine-tuning reached; points of descendants that the preview has not are left out
    """
    by = AXES[axis]
    marked = preview.choice if chosen is None else chosen
    costs = {(row.image_size, row.depth): by.cost(row) for row in preview.rows}
    rows = {(row.image_size, row.depth): row for row in preview.rows}

    def point(row: PreviewRow, cost: float, top1: float, data: str = "") -> FrontierPoint:
        depth = format_depth(row.profile if preview.profiled else row.depth)
        name = f"{depth} at {format_image_size(row.image_size)}" if preview.sized else depth
        kind: Kind = "tuned" if data else "trained" if row.trained else "expanded"
        return FrontierPoint(name, row.image_size, cost, top1, kind, data, row.fits, row is marked)

    points = [
        point(row, cost, row.top1)
        for place, row in rows.items()
        if row.top1 is not None and (cost := costs[place]) is not None
    ]
    points += [
        point(rows[place], cost, each.top1, each.data)
        for each in tuned
        if (cost := costs.get(place := (each.image_size, each.depth))) is not None
    ]
    points.sort(key=lambda each: (each.image_size, each.data, each.cost))

    def depths(of: Callable[[PreviewRow], bool]) -> str:
        found: dict[tuple[int, int], list[Depth]] = {}
        for row in filter(of, preview.rows):
            found.setdefault(row.image_size, []).append(row.depth)
        sized = (f" at {format_image_size(size)}" if preview.sized else "" for size in found)
        return "; ".join(f"{format_depths(each)}{size}" for each, size in zip(found.values(), sized, strict=True))

    return Frontier(
        axis=by,
        label=f"{by.label}, batch {preview.batch}" if by.batch else by.label,
        points=tuple(points),
        limit=getattr(preview.budget, by.limit),
        chosen=None if marked is None else by.cost(marked),
        unmeasured=depths(lambda row: row.top1 is None),
        uncosted=depths(lambda row: by.cost(row) is None),
        over=depths(lambda row: not row.fits),
    )
