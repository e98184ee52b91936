"""How close a learngene's features are to its teacher's, as the record of its training keeps it. Standard library only.

Where a learngene is learned from features alone it has no classes, and so no accuracy (docs/unlabelled.md): what was reached
is the mean cosine with the teacher's features, through the projection that was trained beside it. The record is free-form,
so that a tleg which knows no cosines reads the file as before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import DepthError, FileFormatError
from tleg.learngene.profile import Depth, format_depth, parse_depth
from tleg.serialize import decode, encode

# The key in what a learngene says of how it was learned.
FEATURE_COSINE: Final = "feature_cosine"


@dataclass(frozen=True, slots=True)
class FeatureCosine:
    """Mean cosines of pooled features with a teacher's, in -1..1, measured in float32.

    teacher     its name
    data        the set and its part
    images      how many
    image_size  height and width of the inputs
    by_depth    of each depth, as it is typed ('8', '2-2-6-2')
    """

    teacher: str
    data: str
    images: int
    image_size: tuple[int, int]
    by_depth: Mapping[str, float]

    def __post_init__(self) -> None:
        for text, value in self.by_depth.items():
            try:
                parse_depth(text)
            except DepthError as error:
                raise FileFormatError(f"cosines are of depths: {error.message}") from error
            if not -1 <= value <= 1:
                raise FileFormatError(f"a cosine lies between -1 and 1, not {value:g}")

    @classmethod
    def of(
        cls, teacher: str, data: str, images: int, image_size: tuple[int, int], by_depth: Mapping[Depth, float]
    ) -> "FeatureCosine":
        """Return cosines, rounded to four decimals."""
        # Rounding may leave the interval where all features are the same to the last bit.
        found = {format_depth(depth): max(-1.0, min(1.0, round(value, 4))) for depth, value in by_depth.items()}
        return cls(teacher, data, images, image_size, found)

    @property
    def figures(self) -> dict[Depth, float]:
        """Cosines by depth."""
        return {parse_depth(text): value for text, value in self.by_depth.items()}

    def __str__(self) -> str:
        """'with the features of dinov2, on 5,000 images of photos validation'."""
        return f"with the features of {self.teacher}, on {self.images:,} images of {self.data}"


def feature_cosine_in(record: Mapping[str, Any]) -> FeatureCosine | None:
    """Return the cosines that the record of a training holds; None where it holds none. Raises FileFormatError."""
    found = record.get(FEATURE_COSINE)
    return None if found is None else decode(FeatureCosine, found, FEATURE_COSINE)


def with_feature_cosine(record: Mapping[str, Any], found: FeatureCosine) -> dict[str, Any]:
    """Return the record of a training with cosines, in place of earlier ones."""
    return {**record, FEATURE_COSINE: encode(found)}
