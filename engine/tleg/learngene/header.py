"""The header of a learngene file: everything but the tensors.

A learngene file is one .safetensors whose metadata holds JSON texts, one for each field of `LearngeneHeader`. This module
defines those fields; `tleg.learngene.container` reads them from a file. Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tleg.errors import FileFormatError, InputError
from tleg.learngene.basis import MAX_DEPTH, Basis
from tleg.learngene.cost import CostModel
from tleg.serialize import ABSENT_IS_FALSE

FORMAT_NAME: Final = "tleg.learngene"
# 2 has architectures of several stages; what has one is written as 1, which every tleg reads.
FORMAT_VERSIONS: Final = (1, 2)

Precision = Literal["float32", "bfloat16", "float16"]
Layout = Literal["auxiliary", "official"]
LAYOUTS: Final[tuple[Layout, ...]] = ("auxiliary", "official")
# The number of blocks in each stage.
Profile = tuple[int, ...]
MAX_STAGES: Final = 16
MAX_WIDTH: Final = 65_536
MAX_CLASSES: Final = 10_000_000
TIMM_EPS: Final = 1e-6  # Of the LayerNorms of timm's ViTs.
# Arguments of timm.create_model that are chosen elsewhere, or that make it fetch weights: a file must not say those.
RESERVED_ARGUMENTS: Final = frozenset(
    {"depth", "num_classes", "norm_layer"}
    | {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
)


@dataclass(frozen=True, slots=True)
class Structure:
    """What a plain ViT computes, as far as a graph writer needs it without timm.

    image_size, patch_size   (height, width) in pixels; the image is a multiple of the patch
    channels, width, heads   of the image, the residual stream, the attention
    hidden                   width of the MLP's hidden layer
    class_token, registers   prefix tokens, in this order
    position                 'all' tokens have a position embedding, only the 'patches', or 'none'
    patch_bias, qkv_bias     whether these linear maps have a bias
    layer_scale              whether each branch is scaled by a learned vector (DeiT III, DINOv2)
    pre_norm                 whether a LayerNorm precedes the blocks (CLIP)
    pool                     'avg' over the patch tokens, or the class 'token'
    eps                      of every LayerNorm
    """

    image_size: tuple[int, int]
    patch_size: tuple[int, int]
    channels: int
    width: int
    heads: int
    hidden: int
    class_token: bool
    registers: int
    position: Literal["all", "patches", "none"]
    patch_bias: bool
    qkv_bias: bool
    layer_scale: bool
    pre_norm: bool
    pool: Literal["avg", "token"]
    eps: float

    def __post_init__(self) -> None:
        sizes = (*self.image_size, *self.patch_size, self.channels, self.width, self.heads, self.hidden)
        if min(sizes) < 1 or max(sizes) > MAX_WIDTH or self.registers < 0:
            raise FileFormatError(f"the sizes of a ViT are 1 to {MAX_WIDTH}")
        if self.width % self.heads:
            raise FileFormatError(f"a width of {self.width} does not divide into {self.heads} heads")
        if any(image % patch for image, patch in zip(self.image_size, self.patch_size, strict=True)):
            raise FileFormatError(f"an image of {self.image_size} is no multiple of patches of {self.patch_size}")
        if self.pool == "token" and not self.class_token:
            raise FileFormatError("pooling by the class token needs a class token")
        if not 0 < self.eps < 1:
            raise FileFormatError(f"the eps of LayerNorm lies between 0 and 1, not {self.eps}")

    @property
    def patches(self) -> int:
        """The number of patch tokens."""
        return (self.image_size[0] // self.patch_size[0]) * (self.image_size[1] // self.patch_size[1])

    @property
    def prefix_tokens(self) -> int:
        """The number of tokens before the patches."""
        return int(self.class_token) + self.registers

    @property
    def tokens(self) -> int:
        """The number of tokens in all."""
        return self.prefix_tokens + self.patches


@dataclass(frozen=True, slots=True)
class Architecture:
    """Which ViT a learngene expands to: `timm.create_model(name, **arguments, depth=…, num_classes=…)`.

    eps        of every LayerNorm, where it differs from what timm's name implies; None otherwise
    structure  what it computes, when it is a plain ViT; None when only timm can build it
    stages     the blocks of each stage in the auxiliary model, of which those of the elastic one count for nothing; empty
               where there is one stage
    elastic    the index of the stage that gets the depth which is asked for
    """

    name: str
    arguments: Mapping[str, Any]
    num_classes: int
    input_size: tuple[int, int, int]
    eps: float | None = None
    structure: Structure | None = None
    stages: Profile = ()
    elastic: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= MAX_CLASSES:
            raise FileFormatError(f"an architecture has 1 to {MAX_CLASSES:,} classes, not {self.num_classes}")
        if self.structure is not None:
            expected = (self.structure.channels, *self.structure.image_size)
            if self.input_size != expected:
                raise FileFormatError(f"the input size {self.input_size} is not that of the structure, {expected}")
        if not all(1 <= size <= MAX_WIDTH for size in self.input_size):
            raise FileFormatError(f"an input has 1 to {MAX_WIDTH} channels, rows and columns, not {self.input_size}")
        # Where timm calls the depths of several stages so, they are one of its arguments as others are.
        stages = {"depth"} if isinstance(self.arguments.get("depth"), list | tuple) else set()
        reserved = RESERVED_ARGUMENTS & set(self.arguments) - stages
        if reserved:
            raise FileFormatError(f"'{min(reserved)}' is not an argument of an architecture")
        if len(self.stages) > MAX_STAGES or not all(1 <= blocks <= MAX_DEPTH for blocks in self.stages):
            raise FileFormatError(f"an architecture has at most {MAX_STAGES} stages of 1 to {MAX_DEPTH} blocks")
        if not 0 <= self.elastic < max(1, len(self.stages)):
            raise FileFormatError(f"there is no stage {self.elastic} that could be elastic")

    def profile(self, depth: int) -> Profile:
        """The blocks of each stage in a descendant of a depth."""
        return (depth,) if not self.stages else (*self.stages[: self.elastic], depth, *self.stages[self.elastic + 1 :])

    @property
    def stages_text(self) -> str:
        """The blocks of each stage, for people: '2-2-N-2', where N is the depth; empty where there is one stage."""
        texts = ["N" if index == self.elastic else str(blocks) for index, blocks in enumerate(self.stages)]
        return "-".join(texts)

    def in_layout(self, layout: Layout) -> "Architecture":
        """The architecture that a layout's descendants have.

        The official ones are timm models with timm's own eps, also where the official auxiliary model had another.
        """
        if layout == "auxiliary" or self.eps is None:
            return self
        structure = None if self.structure is None else replace(self.structure, eps=TIMM_EPS)
        return replace(self, eps=None, structure=structure)


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """The model that the learngene was trained in: its depth, and the depths it was trained at when they were sampled."""

    depth: int
    sampled_depths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not all(1 <= depth <= MAX_DEPTH for depth in (self.depth, *self.sampled_depths)):
            raise FileFormatError(f"the depth of an auxiliary model is 1 to {MAX_DEPTH}")


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
class Reached:
    """What descendants reach without any fine-tuning, measured on some images in one precision.

    data       the set, its part, and where that is a split of the training images, which one
    images     how many
    top1       accuracy in percent by depth
    precision  in which they were computed; float32 is what exported models compute in
    """

    data: str
    images: int
    top1: Mapping[int, float]
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if not all(1 <= depth <= MAX_DEPTH and 0 <= value <= 100 for depth, value in self.top1.items()):
            raise FileFormatError("accuracies are percentages of known depths")

    @property
    def where(self) -> tuple[str, int, str]:
        """What tells it from other figures: data, images, precision."""
        return self.data, self.images, self.precision

    def __str__(self) -> str:
        """'10,000 images of fashion-mnist validation, in bfloat16': what was measured; float32 goes without saying."""
        return f"{self.images:,} images of {self.data}" + ("" if self.precision == "float32" else f", in {self.precision}")


@dataclass(frozen=True, slots=True)
class LearngeneHeader:
    """All that a learngene file says of itself.

    classes   names in the order of the head's outputs; empty when unknown
    learned   how it came to be: ancestry model, data, epochs, distillation, versions (free-form, for people and manifests)
    reached   what was measured first, as a rule when it was learned, in float32 where there is such: what is shown
    further   what was measured on other data, on a split, or in another precision
    sha256    of the tensors: their names, types, shapes and bytes
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

    def __post_init__(self) -> None:
        if self.classes and len(self.classes) != self.architecture.num_classes:
            raise FileFormatError(f"there are {len(self.classes)} class names for {self.architecture.num_classes} classes")
        if len(self.preprocessing.mean) != self.architecture.input_size[0]:
            raise FileFormatError("preprocessing and architecture differ in the number of channels")
        if self.further and self.reached is None:
            raise FileFormatError("there are further accuracies and no first ones")
        places = [each.where for each in self.measured]
        if len(set(places)) != len(places):
            raise FileFormatError("two sets of accuracies are of the same images in the same precision")

    @property
    def version(self) -> int:
        """The version of the file format that says it."""
        return FORMAT_VERSIONS[1] if self.architecture.stages else FORMAT_VERSIONS[0]

    @property
    def measured(self) -> tuple[Reached, ...]:
        """All accuracies, those that are shown first."""
        return () if self.reached is None else (self.reached, *self.further)

    def with_measured(self, found: Reached, *, replace_others: bool = False) -> "LearngeneHeader":
        """Return the header with figures added, beside those of other images and precisions.

        Depths that were not measured on the same images stay. Figures that differ are replaced with `replace_others` alone:
        else InputError says which.
        """
        measured = {each.where: each for each in self.measured}
        earlier = measured.get(found.where)
        if earlier is not None:
            changed = [depth for depth, value in found.top1.items() if earlier.top1.get(depth, value) != value]
            if changed and not replace_others:
                depth, number = min(changed), f"{len(changed)} figure{'s' if len(changed) > 1 else ''}"
                raise InputError(
                    f"on {found} it says {earlier.top1[depth]:.2f} % for depth {depth} already, and "
                    f"{found.top1[depth]:.2f} % was measured now",
                    field="record",
                    code="exists",
                    advice=f"--force replaces {number}",
                )
            found = replace(found, top1=dict(sorted({**earlier.top1, **found.top1}.items())))
        measured[found.where] = found
        # What is shown does not change with what was measured last, but for a first one in float32.
        first, *others = sorted(measured.values(), key=lambda each: each.precision != "float32")
        return replace(self, reached=first, further=tuple(others))
