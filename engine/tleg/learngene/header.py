"""The header of a learngene file: everything but the tensors.

A learngene file is one .safetensors whose metadata holds JSON texts, one for each field of `LearngeneHeader`. This module
defines those fields; `tleg.learngene.container` reads them from a file. Standard library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tleg.errors import FileFormatError, InputError
from tleg.learngene.architecture import MAX_WIDTH, Architecture
from tleg.learngene.basis import MAX_DEPTH, Basis
from tleg.learngene.calibration import calibration_in
from tleg.learngene.cascade import policies_in
from tleg.learngene.cost import CostModel, DepthCost
from tleg.learngene.feature_cosine import feature_cosine_in
from tleg.learngene.profile import Depth as Depth
from tleg.learngene.profile import Profile as Profile
from tleg.learngene.profile import format_depth
from tleg.learngene.reached import Precision as Precision
from tleg.learngene.reached import Reached as Reached
from tleg.learngene.reached import in_order
from tleg.serialize import ABSENT_IS_FALSE, LEFT_OUT_WHEN_NONE

FORMAT_NAME: Final = "tleg.learngene"
# 2 has architectures of several stages, and further sizes of images that were trained or evaluated; what has none of these
# is written as 1, which every tleg reads. 3 has matrices in 8 bits, 4 in 4.
FORMAT_VERSIONS: Final = (1, 2, 3, 4)

# What the matrices of a learngene are stored in, where that is not float32.
CompressedType = Literal["int8", "int4"]
COMPRESSED_TYPES: Final[tuple[CompressedType, ...]] = ("int8", "int4")


@dataclass(frozen=True, slots=True)
class SampledSize:
    """A size of inputs that training drew: height and width, and what that costs.

    macs    multiply-accumulates for one image: of depth 0, and of each layer
    stages  those of one more block of each stage, where all of them were scaled; else None
    """

    image_size: tuple[int, int]
    macs: tuple[int, int]
    stages: tuple[int, ...] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def __post_init__(self) -> None:
        if not all(1 <= side <= MAX_WIDTH for side in self.image_size) or min(self.macs + (self.stages or ())) < 0:
            raise FileFormatError(f"a size of images is 1 to {MAX_WIDTH} pixels, and costs are not negative")

    @classmethod
    def of(cls, image_size: tuple[int, int], cost: CostModel, *, scaled: bool) -> "SampledSize":
        """A size with the cost of the family there."""
        stages = tuple(each.macs for each in cost.stages) if scaled and cost.stages else None
        return cls(image_size, (cost.macs.at(0), cost.macs.at(1) - cost.macs.at(0)), stages)

    def macs_at(self, depth: int, more: Sequence[int] = ()) -> int:
        """Multiply-accumulates for one image at a depth, with so many more blocks in each stage that is not elastic."""
        base, layer = self.macs
        return base + depth * layer + sum(count * each for count, each in zip(more, self.stages or (), strict=False))


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """The model that the learngene was trained in: its depth, and what it was trained at when that was sampled.

    sampled_depths  depths that were drawn
    sampled_sizes   sizes of the inputs, where they were drawn, or are others than the architecture's now; else None
    scaled          whether all stages were scaled with the depth that was drawn; None where there is nothing to say
    """

    depth: int
    sampled_depths: tuple[int, ...] = ()
    sampled_sizes: tuple[SampledSize, ...] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    scaled: bool | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def __post_init__(self) -> None:
        if not all(1 <= depth <= MAX_DEPTH for depth in (self.depth, *self.sampled_depths)):
            raise FileFormatError(f"the depth of an auxiliary model is 1 to {MAX_DEPTH}")

    def doubt(self, depth: Depth) -> str | None:
        """What to know of a depth that is less than all that were drawn, so that its layers never worked together."""
        if not self.sampled_depths or not isinstance(depth, int) or depth >= min(self.sampled_depths):
            return None
        return f"not trained below depth {min(self.sampled_depths)}: fine-tune it first"

    def trained_at(self, image_size: tuple[int, int]) -> bool:
        """Whether it was trained with inputs of a size, which is the architecture's or another."""
        return self.sampled_sizes is None or image_size in [each.image_size for each in self.sampled_sizes]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes an input: resize and crop, then (x / 255 - mean) / std by channel, as in timm's data config.

    exif         whether the image is turned upright first, as its EXIF orientation says; a file that does not state it was
                 made without
    pixel_range  the values that become black and white in an image of more than 8 bits a channel; None where there were none
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bicubic", "bilinear", "nearest", "lanczos"] = "bicubic"
    crop_pct: float = 0.875
    crop_mode: Literal["center", "squash", "border"] = "center"
    exif: bool = field(default=True, metadata=ABSENT_IS_FALSE)
    pixel_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise FileFormatError("preprocessing has one mean and one std for each channel")
        if min(self.std) <= 0 or not 0 < self.crop_pct <= 1:
            raise FileFormatError("preprocessing needs std above 0 and a crop of at most 1")
        if self.pixel_range is not None and not self.pixel_range[0] < self.pixel_range[1]:
            raise FileFormatError("preprocessing needs a pixel range whose first value is smaller than the second")


@dataclass(frozen=True, slots=True)
class Compression:
    """How a learngene's matrices are stored, where that is not float32.

    dtype     of whole numbers, each times a scale; of 'int4' the matrices of blocks alone are in 4 bits, others in 8
    original  the hash of the tensors before they were rounded
    """

    dtype: CompressedType
    original: str


@dataclass(frozen=True, slots=True)
class LearngeneHeader:
    """All that a learngene file says of itself.

    classes   names in the order of the head's outputs; empty when unknown
    learned   how it came to be: ancestry model, data, epochs, distillation, versions (free-form, for people and manifests),
              and what was found out of its probabilities since (`tleg.learngene.calibration`, `tleg.learngene.cascade`)
    reached   what was measured first, as a rule when it was learned, in float32 where there is such: what is shown
    further   what was measured on other data, on a split, in another precision, or with inputs of another size
    sha256    of the tensors: their names, types, shapes and bytes
    compression  how its matrices are stored; None in float32
    """

    architecture: Architecture
    basis: Basis
    auxiliary: Auxiliary
    preprocessing: Preprocessing
    cost: CostModel
    classes: tuple[str, ...] = ()
    learned: Mapping[str, Any] = field(default_factory=dict)
    reached: Reached | None = None
    sha256: str = ""
    further: tuple[Reached, ...] = ()
    compression: Compression | None = None

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.architecture.num_classes:
            raise FileFormatError(f"there are {len(self.classes)} class names for {self.architecture.num_classes} classes")
        if len(self.preprocessing.mean) != self.architecture.input_size[0]:
            raise FileFormatError("preprocessing and architecture differ in the number of channels")
        if self.reached is None and any(each.image_size is None for each in self.further):
            raise FileFormatError("there are further accuracies and no first ones")
        if self.reached is not None and self.reached.image_size is not None:
            raise FileFormatError("the first accuracies are those with inputs of the architecture's size")
        places = [each.where for each in self.measured]
        if len(set(places)) != len(places):
            raise FileFormatError("two sets of accuracies are of the same images in the same precision")
        _ = calibration_in(self.learned), policies_in(self.learned), feature_cosine_in(self.learned)

    @property
    def version(self) -> int:
        """The version of the file format that says it."""
        if self.compression is not None:
            return FORMAT_VERSIONS[2 if self.compression.dtype == "int8" else 3]
        sized = self.auxiliary.sampled_sizes is not None or any(each.image_size for each in self.further)
        newer = self.architecture.stages or sized
        return FORMAT_VERSIONS[1] if newer else FORMAT_VERSIONS[0]

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the inputs."""
        return self.architecture.input_size[1:]

    def cost_at(self, depth: Depth, batch: int = 1) -> DepthCost:
        """What a descendant of a depth or a profile costs, with memory for a batch of so many images. Raises InputError."""
        return self.architecture.cost_at(self.cost, depth, batch)

    def parts_at(self, depth: Depth) -> dict[str, tuple[int, int]]:
        """The parameters of a descendant and its multiply-accumulates for one image, by part. Raises InputError.

        Of several stages those that are not elastic count with the stem.
        """
        profile = self.architecture.profile(depth)
        cost, number = self.architecture.cost_of_others(self.cost, profile), profile[self.architecture.elastic]
        macs = cost.macs.split(number)
        return {part: (count, macs[part]) for part, count in cost.parameters.split(number).items()}

    def scaled(self, depth: Depth) -> Depth:
        """A profile in which every stage has as large a part of the auxiliary's blocks as the elastic one has at a depth.

        Stages have one block at least. A profile stays, and so does a depth where there is one stage.
        """
        return self.architecture.scaled(depth, self.auxiliary.depth)

    def as_trained(self, depth: Depth) -> Depth:
        """The profile that a depth had in training: `scaled` where all stages were, else the depth."""
        return self.scaled(depth) if self.auxiliary.scaled else depth

    def training_macs_at(self, depth: int) -> float:
        """Multiply-accumulates for one image at a depth while it was trained: the mean over the sizes that were drawn."""
        trained = self.as_trained(depth)
        sizes = self.auxiliary.sampled_sizes
        if sizes is None:
            return self.cost_at(trained).macs
        more = self.architecture.more_blocks(self.architecture.profile(trained))
        return sum(each.macs_at(depth, more) for each in sizes) / len(sizes)

    def at_image_size(self, architecture: Architecture, cost: CostModel) -> "LearngeneHeader":
        """Return the header of the same learngene with inputs of another size: its architecture there, and what that costs.

        Accuracies that were measured with inputs of that size are those that are shown.
        """
        own, size = self.image_size, architecture.input_size[1:]
        measured = []
        for each in self.measured:
            found = own if each.image_size is None else each.image_size
            measured.append(replace(each, image_size=None if found == size else found))
        first, further = in_order(measured)
        scaled = bool(self.auxiliary.scaled)
        trained = self.auxiliary.sampled_sizes or (SampledSize.of(own, self.cost, scaled=scaled),)
        known = None if [each.image_size for each in trained] == [size] else trained
        return replace(
            self,
            architecture=architecture,
            auxiliary=replace(self.auxiliary, sampled_sizes=known),
            cost=cost,
            reached=first,
            further=further,
        )

    @property
    def measured(self) -> tuple[Reached, ...]:
        """All accuracies, those that are shown first."""
        return self.further if self.reached is None else (self.reached, *self.further)

    def with_measured(self, found: Reached, *, replace_others: bool = False) -> "LearngeneHeader":
        """Return the header with figures added, beside those of other images and precisions.

        Depths that were not measured on the same images stay. Figures that differ are replaced with `replace_others` alone:
        else InputError says which.
        """
        measured = {each.where: each for each in self.measured}
        earlier = measured.get(found.where)
        if earlier is not None:
            before, now = earlier.by_depth, found.by_depth
            changed = [depth for depth, value in now.items() if before.get(depth, value) != value]
            if changed and not replace_others:
                depth, number = changed[0], f"{len(changed)} figure{'s' if len(changed) > 1 else ''}"
                raise InputError(
                    f"on {found} it says {before[depth]:.2f} % for depth {format_depth(depth)} already, and "
                    f"{now[depth]:.2f} % was measured now",
                    field="record",
                    code="exists",
                    advice=f"--force replaces {number}",
                )
            found = Reached.of(found.data, found.images, {**before, **now}, found.precision, found.image_size)
        measured[found.where] = found
        first, further = in_order(measured.values())
        return replace(self, reached=first, further=further)
