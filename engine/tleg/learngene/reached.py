"""What descendants reach without any fine-tuning, as a learngene's header keeps it. Standard library only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tleg.errors import FileFormatError
from tleg.learngene.basis import MAX_DEPTH
from tleg.learngene.profile import Depth, format_depth, parse_depth
from tleg.serialize import LEFT_OUT_WHEN_NONE
from tleg.text import format_image_size

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Reached:
    """What descendants reach without any fine-tuning, measured on some images in one precision.

    data       the set, its part, and where that is a split of the training images, which one
    images     how many
    top1       accuracy in percent by depth
    precision  in which they were computed; float32 is what exported models compute in
    image_size  height and width of the inputs where they are others than the architecture's
    profiles    accuracy in percent of descendants that differ in more than the elastic stage, by profile: '1-1-6-1'
    """

    data: str
    images: int
    top1: Mapping[int, float]
    precision: Precision = "float32"
    image_size: tuple[int, int] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    profiles: Mapping[str, float] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def __post_init__(self) -> None:
        if not all(1 <= depth <= MAX_DEPTH and 0 <= value <= 100 for depth, value in self.top1.items()):
            raise FileFormatError("accuracies are percentages of known depths")
        if not all(0 <= value <= 100 for value in (self.profiles or {}).values()):
            raise FileFormatError("accuracies are percentages")

    @property
    def by_depth(self) -> dict[Depth, float]:
        """Accuracy in percent by depth, profiles included."""
        found: dict[Depth, float] = dict(sorted(self.top1.items()))
        found.update((parse_depth(text), value) for text, value in (self.profiles or {}).items())
        return found

    @classmethod
    def of(
        cls,
        data: str,
        images: int,
        by_depth: Mapping[Depth, float],
        precision: Precision = "float32",
        image_size: tuple[int, int] | None = None,
    ) -> "Reached":
        """Return accuracies by depth, among which there may be profiles."""
        top1 = {depth: value for depth, value in by_depth.items() if isinstance(depth, int)}
        profiles = {format_depth(depth): value for depth, value in by_depth.items() if isinstance(depth, tuple)}
        return cls(data, images, dict(sorted(top1.items())), precision, image_size, dict(sorted(profiles.items())) or None)

    @property
    def where(self) -> tuple[str, int, str, tuple[int, int] | None]:
        """What tells it from other figures: data, images, precision, size of the inputs."""
        return self.data, self.images, self.precision, self.image_size

    def __str__(self) -> str:
        """'10,000 images of fashion-mnist validation, in bfloat16': what was measured; float32 goes without saying."""
        sized = "" if self.image_size is None else f" at {format_image_size(self.image_size)} pixels"
        precise = "" if self.precision == "float32" else f", in {self.precision}"
        return f"{self.images:,} images of {self.data}{sized}{precise}"


def in_order(measured: Iterable[Reached]) -> tuple[Reached | None, tuple[Reached, ...]]:
    """The accuracies that are shown, and the others."""
    # What is shown does not change with what was measured last, but for a first one in float32.
    ordered = sorted(measured, key=lambda each: (each.image_size is not None, each.precision != "float32"))
    if ordered and ordered[0].image_size is None:
        return ordered[0], tuple(ordered[1:])
    return None, tuple(ordered)
