"""What `tleg compress` takes: where the smaller learngene goes, and what decides whether it is kept."""

from dataclasses import dataclass, field

from tleg.errors import concerning
from tleg.learngene.header import COMPRESSED_TYPES, CompressedType
from tleg.learngene.profile import Depth, parse_profiles
from tleg.recipes.fields import check_fields, option
from tleg.recipes.precision import AccuracyGate


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions:
    """Storing a learngene's matrices in fewer bits.

    dtype   of the matrices; 'int4' of those of blocks, and all else that is large in 8 bits
    depths  at which accuracy is measured, as in '4,8,12'; None: a third, two thirds and all of the auxiliary's

    Raises InputError for what is out of range or makes no sense together.
    """

    output: str = option(help="The learngene file to write (.safetensors).", metavar="FILE")
    dtype: str = option("int8", help="Of the matrices: int8, or int4 in the blocks.", choices=COMPRESSED_TYPES)
    depths: str | None = option(None, help="With --data: where accuracy is measured, as in 4,8,12.")
    gate: AccuracyGate = field(default_factory=AccuracyGate)
    force: bool = option(False, help="Replace the output if it exists.")

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.chosen_depths
        self.gate.require_data(self.gate.data, depths=self.depths)

    @property
    def compressed(self) -> CompressedType:
        """What the matrices become."""
        return next(each for each in COMPRESSED_TYPES if each == self.dtype)

    @property
    def chosen_depths(self) -> tuple[Depth, ...] | None:
        """The depths that were asked for."""
        with concerning("depths"):
            return parse_profiles(self.depths) if self.depths else None
