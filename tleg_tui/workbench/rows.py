"""Which descendants the workbench's table has: depths or profiles, at one size of inputs or at several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import InputError, TlegError
from tleg.learngene.architecture import Architecture
from tleg.learngene.cost import CostModel
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.preview import PreviewRow
from tleg.learngene.profile import Depth, format_depth, parse_profiles
from tleg.serialize import decode
from tleg.text import format_image_size, parse_image_size
from tleg.tuned import Place

# Key, label, what stands in an empty field.
FIELDS: Final = (("depths", "depths", "1-24"), ("pixels", "pixels", "as learned"))
ALL: Final = "all"
LEAST_DEPTHS: Final = 24


def place_of(row: PreviewRow) -> Place:
    """Which descendant a row of the table is of."""
    return Place(row.image_size, row.depth)


@dataclass(frozen=True, slots=True)
class Rows:
    """What was asked for.

    depths       those named; none: as many as the learngene is for
    scaled       whether every stage grows with the depth, where there are several
    image_sizes  heights and widths of the inputs; none: what the learngene was learned on
    """

    depths: tuple[Depth, ...] = ()
    scaled: bool = False
    image_sizes: tuple[tuple[int, int], ...] = ()

    def depths_of(self, header: LearngeneHeader) -> tuple[Depth, ...]:
        """The depths of a learngene. Raises DepthError for a profile that it does not have."""
        usual = range(1, max(LEAST_DEPTHS, 2 * header.auxiliary.depth) + 1)
        return tuple(header.scaled(depth) if self.scaled else depth for depth in self.depths or usual)

    def sizes_of(self, header: LearngeneHeader) -> tuple[tuple[int, int], ...]:
        """The sizes of the inputs of a learngene."""
        return self.image_sizes or (header.image_size,)


def read_rows(texts: Mapping[str, str]) -> tuple[Rows, str | None]:
    """Return what the texts ask for, and what is wrong with the first that means nothing, which begins with its key.

    Such a text asks for nothing.
    """
    depths, pixels = (texts.get(key, "").strip() for key, _, _ in FIELDS)
    named: tuple[Depth, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    problem = None
    if depths and depths.lower() != ALL:
        try:
            named = parse_profiles(depths.rstrip(",- "))
        except InputError as error:
            problem = f"depths: {error}"
    if pixels:
        try:
            sizes = tuple(dict.fromkeys(parse_image_size(text) for text in pixels.split(",") if text.strip()))
        except InputError as error:
            problem = problem or f"pixels: {error}"
    return Rows(named, depths.lower() == ALL, sizes), problem


def format_place(place: Place, *, sized: bool) -> str:
    """'depth 2-2-6-2', and with inputs of several sizes 'depth 8 at 160 pixels'."""
    return f"depth {format_depth(place.depth)}" + (f" at {format_image_size(place.image_size)} pixels" if sized else "")


def read_headers(header: LearngeneHeader, document: object) -> list[LearngeneHeader]:
    """Return a learngene's header at the sizes that `tleg preview --json` was asked for, as its document has them.

    Raises FileFormatError, or TlegError where it is no such document.
    """
    sizes: Sequence[Any] = document.get("sizes", ()) if isinstance(document, dict) else ()
    if not sizes:
        raise TlegError("tleg preview gave no sizes")
    return [
        header.at_image_size(
            decode(Architecture, each["architecture"], "architecture"), decode(CostModel, each["cost"], "cost")
        )
        for each in sizes
    ]
