"""The temperature of a model, as the record of its training keeps it. Standard library only.

Outputs that are divided by a temperature keep their order, and so every prediction, while their softmax comes closer to how
often it is right (Guo et al., On Calibration of Modern Neural Networks, 2017, arXiv 1706.04599). Nothing else depends on it:
the record is free-form, so that a tleg which knows no temperatures reads the file as before.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tleg.errors import FileFormatError
from tleg.learngene.profile import Depth, format_depth
from tleg.serialize import LEFT_OUT_WHEN_NONE, decode

# The key in what a learngene says of how it was learned, and in a folder's training.json.
CALIBRATION: Final = "calibration"
# What a temperature may be: beyond these, probabilities are those of a constant, or 0 and 1.
LEAST_TEMPERATURE: Final = 0.01
MOST_TEMPERATURE: Final = 100.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperatures that were fitted, and on what.

    temperature  of all depths that have none of their own
    data         the set and its part
    images       how many the temperatures were fitted on
    seed         by which these were drawn
    num_classes  of the model that was looked at: with a new classifier its temperature means nothing
    image_size   height and width of the inputs
    by_depth     of each depth, as it is typed ('8', '2-2-6-2'), where each was fitted by itself
    """

    temperature: float
    data: str
    images: int
    seed: int
    num_classes: int
    image_size: tuple[int, int]
    by_depth: Mapping[str, float] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def __post_init__(self) -> None:
        for value in (self.temperature, *(self.by_depth or {}).values()):
            check_temperature(value)

    def at(self, depth: Depth | None) -> float:
        """The temperature of a depth; None is a model whose depth is not known."""
        own = None if depth is None or self.by_depth is None else self.by_depth.get(format_depth(depth))
        return self.temperature if own is None else own

    def fits(self, num_classes: int, image_size: tuple[int, int]) -> bool:
        """Whether a model with such a head and such inputs is the one that was looked at."""
        return (self.num_classes, self.image_size) == (num_classes, image_size)

    def __str__(self) -> str:
        """'fitted to 5,000 images of fashion-mnist validation'."""
        return f"fitted to {self.images:,} images of {self.data}"


def check_temperature(value: float) -> None:
    """Refuse what no temperature can be. Raises FileFormatError."""
    if not (math.isfinite(value) and LEAST_TEMPERATURE <= value <= MOST_TEMPERATURE):
        raise FileFormatError(f"a temperature lies between {LEAST_TEMPERATURE:g} and {MOST_TEMPERATURE:g}, not {value:g}")


def calibration_in(record: Mapping[str, Any]) -> Calibration | None:
    """Return the calibration that the record of a training holds; None where it holds none. Raises FileFormatError."""
    found = record.get(CALIBRATION)
    return None if found is None else decode(Calibration, found, CALIBRATION)
