"""What `tleg compress` takes: where the smaller learngene goes, and what decides whether it is kept."""

from dataclasses import dataclass, field
from typing import Final

from tleg.errors import concerning
from tleg.learngene.profile import Depth, parse_profiles
from tleg.recipes.fields import check_fields, option
from tleg.recipes.precision import AccuracyGate

DTYPES: Final = ("int8",)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions:
    """Storing a learngene's matrices in fewer bits.

    dtype   of the matrices
    depths  at which accuracy is measured, as in '4,8,12'; None: a third, two thirds and all of the auxiliary's

    Raises InputError for what is out of range or makes no sense together.
    """

    output: str = option(help="The learngene file to write (.safetensors).", metavar="FILE")
    dtype: str = option("int8", help="Of the matrices.", choices=DTYPES)
    depths: str | None = option(None, help="With --data: where accuracy is measured, as in 4,8,12.")
    gate: AccuracyGate = field(default_factory=AccuracyGate)
    force: bool = option(False, help="Replace the output if it exists.")

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.chosen_depths
        self.gate.require_data(self.gate.data, depths=self.depths)

    @property
    def chosen_depths(self) -> tuple[Depth, ...] | None:
        """The depths that were asked for."""
        with concerning("depths"):
            return parse_profiles(self.depths) if self.depths else None
