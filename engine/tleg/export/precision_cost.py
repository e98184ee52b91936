"""What a smaller number type costs an export, and saves: accuracy, bytes and seconds beside the same export in float32.

Accuracy is measured on labelled images, far above in the layers, so a build is handed a `Judge`. What it finds is part of
the manifest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from tleg.learngene.profile import Depth

if TYPE_CHECKING:
    from tleg.export.backend import Source
    from tleg.export.formats import Format

# Called with images looked at, and images in all.
Counted = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Images from which the ranges of activations are taken.

    data     what they are of, for manifests
    images   how many
    batches  gives them, normalised: (batch, C, H, W), float32
    """

    data: str
    images: int
    batches: Callable[[], Iterator[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """Which images the ranges of activations were taken from."""

    data: str
    images: int


@dataclass(frozen=True, slots=True)
class AccuracyPair:
    """Top-1 accuracy in percent at a depth, in float32 and in the smaller number type.

    depth  as it is typed; None for models that have none
    """

    depth: str | None
    before: float
    after: float

    @property
    def drop(self) -> float:
        """The points that are lost; below zero where accuracy rose."""
        return self.before - self.after


@dataclass(frozen=True, slots=True)
class PrecisionCost:
    """An export beside the same in float32: (float32, this one) of each.

    bytes       of the files, or of the folder's
    seconds     of one image on one thread, the median; None of what is no graph
    accuracies  at each depth that was looked at; none without labelled images
    data        which images those were
    images      how many
    max_drop    the most points that were allowed to be lost
    calibration images from which the ranges of activations were taken; None where there are none
    """

    bytes: tuple[int, int]
    seconds: tuple[float, float] | None = None
    accuracies: tuple[AccuracyPair, ...] = ()
    data: str | None = None
    images: int | None = None
    max_drop: float | None = None
    calibration: CalibrationRecord | None = None


class Judge(Protocol):
    """Measures exports on images that people name."""

    def prepare(self, source: "Source") -> Calibration | None:
        """Open the images, before anything is written, and return those for calibration; None where there are none.

        Raises InputError, DataError.
        """
        ...

    def measure(
        self, entry: "Format", before: Path, after: Path, depths: Sequence[Depth | None], counted: Counted
    ) -> PrecisionCost:
        """Measure an export in float32 and in its own number type.

        depths  of an export that holds every depth, those to look at; of others its own

        Raises VerificationError when it loses more accuracy than is allowed, InputError when images and model do not fit.
        """
        ...
