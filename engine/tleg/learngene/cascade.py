"""The policy of a cascade: a shallow descendant answers where it is sure, else a deeper one. Standard library only.

It is kept as a calibration is, in the record of a training: tleg versions that know no cascades read the file as before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import FileFormatError, InputError
from tleg.learngene.basis import MAX_DEPTH
from tleg.learngene.calibration import check_temperature
from tleg.learngene.profile import Depth, format_depth, parse_depth
from tleg.serialize import decode

# The key in what a learngene says of how it was learned.
CASCADES: Final = "cascades"


@dataclass(frozen=True, slots=True)
class CascadePolicy:
    """When a depth's answer is kept, and on what that was chosen.

    depths        from the shallowest to the deepest, whose answer is always kept
    threshold     the largest probability of a depth has to reach it, in 0..1
    temperatures  of each depth: its outputs are divided by it before they become probabilities
    max_drop      points of accuracy below the deepest's that were allowed where the threshold was chosen
    data          the set and its part
    images        how many it was chosen on
    seed          by which these were drawn
    num_classes   of the models that were looked at
    image_size    height and width of the inputs
    """

    depths: tuple[int, ...]
    threshold: float
    temperatures: tuple[float, ...]
    max_drop: float
    data: str
    images: int
    seed: int
    num_classes: int
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        ascending = list(self.depths) == sorted(set(self.depths))
        if len(self.depths) < 2 or not ascending or not 1 <= self.depths[0] <= self.depths[-1] <= MAX_DEPTH:
            raise FileFormatError("a cascade has two depths or more, from the shallowest to the deepest")
        if not 0 <= self.threshold <= 1:
            raise FileFormatError(f"the threshold of a cascade lies between 0 and 1, not {self.threshold:g}")
        if len(self.temperatures) != len(self.depths):
            raise FileFormatError("a cascade has one temperature for each depth")
        for value in self.temperatures:
            check_temperature(value)

    def fits(self, num_classes: int, image_size: tuple[int, int]) -> bool:
        """Whether models with such a head and such inputs are those that were looked at."""
        return (self.num_classes, self.image_size) == (num_classes, image_size)

    def __str__(self) -> str:
        """'from a probability of 0.9 on, chosen on 5,000 images of fashion-mnist validation'."""
        return f"from a probability of {self.threshold:g} on, chosen on {self.images:,} images of {self.data}"


def parse_cascade(text: str) -> tuple[int, ...]:
    """Read the depths of a cascade, such as '3,8', from the shallowest to the deepest. Raises InputError, DepthError."""
    depths = list[int]()
    for part in text.split(","):
        depth = parse_depth(part)
        if isinstance(depth, tuple):
            raise InputError(
                f"a cascade takes depths that are one number, as in 3,8, not {format_depth(depth)}", code="unsupported"
            )
        depths.append(depth)
    if len(depths) < 2:
        raise InputError(f"a cascade has two depths or more, as in 3,8, not '{text}'", code="malformed")
    if depths != sorted(set(depths)):
        raise InputError(
            f"a cascade goes from the shallowest to the deepest, each once: {depths_text(sorted(set(depths)))}, not {text}",
            code="malformed",
        )
    return tuple(depths)


def policies_in(record: Mapping[str, Any]) -> tuple[CascadePolicy, ...]:
    """Return the policies that the record of a training holds. Raises FileFormatError."""
    found = record.get(CASCADES, [])
    if not isinstance(found, list):
        raise FileFormatError(f"{CASCADES} must be a list")
    return tuple(decode(CascadePolicy, each, f"{CASCADES}[{index}]") for index, each in enumerate(found))


def policy_for(record: Mapping[str, Any], depths: Sequence[Depth]) -> CascadePolicy | None:
    """Return the policy of these depths; None where the record holds none. Raises FileFormatError."""
    return next((each for each in policies_in(record) if each.depths == tuple(depths)), None)


def depths_text(depths: Sequence[Depth]) -> str:
    """The depths of a cascade as they are typed: '3,8'."""
    return ",".join(map(format_depth, depths))
