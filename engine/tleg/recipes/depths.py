"""At which depths an auxiliary model is trained."""

from dataclasses import dataclass
from typing import Final

from tleg.basis import check_depth
from tleg.errors import InputError

SAMPLINGS: Final = ("single", "sandwich")


@dataclass(frozen=True, slots=True)
class Depths:
    """The paper's fixed depth, or depths that are drawn at every step.

    sampling  'single' draws one depth a step; 'sandwich' takes the deepest, the shallowest and one in between, and the
              deepest teaches the others (Yu and Huang, arXiv 1903.05134)
    """

    auxiliary: int = 12
    sampled: tuple[int, ...] = ()
    sampling: str = "single"

    def __post_init__(self) -> None:
        for depth in (self.auxiliary, *self.sampled):
            check_depth(depth)
        if self.sampled and self.auxiliary not in self.sampled:
            raise InputError(
                f"the auxiliary depth {self.auxiliary} is not one of the sampled depths, so it is never trained"
            )
        if self.sampling not in SAMPLINGS:
            raise InputError(f"unknown sampling '{self.sampling}': choose {' or '.join(SAMPLINGS)}")
        if self.sampling == "sandwich" and len(set(self.sampled)) < 2:
            raise InputError("sandwich sampling needs two or more depths in sample-depths")

    @property
    def choices(self) -> tuple[int, ...]:
        """The depths that a step may have."""
        return self.sampled or (self.auxiliary,)
