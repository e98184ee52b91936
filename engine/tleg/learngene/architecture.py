"""What a learngene expands to: the architecture, as timm makes it, and of a plain ViT what it computes.

Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from tleg.errors import DepthError, FileFormatError
from tleg.learngene.basis import MAX_DEPTH
from tleg.learngene.cost import CostModel, DepthCost
from tleg.learngene.profile import Depth, Profile, check_profile, format_depth

Layout = Literal["auxiliary", "official"]
LAYOUTS: Final[tuple[Layout, ...]] = ("auxiliary", "official")
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
        if not 0 <= self.num_classes <= MAX_CLASSES:
            raise FileFormatError(f"an architecture has 0 to {MAX_CLASSES:,} classes, not {self.num_classes}")
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

    def profile(self, depth: Depth) -> Profile:
        """The blocks of each stage in a descendant of a depth. Raises DepthError for a profile of other stages."""
        if not isinstance(depth, tuple):
            return (depth,) if not self.stages else (*self.stages[: self.elastic], depth, *self.stages[self.elastic + 1 :])
        profile = check_profile(depth)
        if len(profile) != max(1, len(self.stages)):
            known = f"has {len(self.stages)} stages, as in {format_depth(self.stages)}" if self.stages else "has one stage"
            raise DepthError(f"'{self.name}' {known}, and {format_depth(profile)} names {len(profile)}")
        return profile

    def scaled(self, depth: Depth, auxiliary_depth: int) -> Depth:
        """See `LearngeneHeader.scaled`."""
        if isinstance(depth, tuple) or not self.stages:
            return depth
        part = depth / auxiliary_depth
        others = (max(1, int(blocks * part + 0.5)) for blocks in self.stages)
        return self.simplest(tuple(depth if stage == self.elastic else blocks for stage, blocks in enumerate(others)))

    def simplest(self, depth: Depth) -> Depth:
        """A depth as one number, where that says as much as its profile. Raises DepthError as `profile` does."""
        profile = self.profile(depth)
        elastic = profile[self.elastic]
        return elastic if profile == self.profile(elastic) else profile

    def cost_at(self, cost: CostModel, depth: Depth, batch: int = 1) -> DepthCost:
        """What a descendant of a depth or a profile costs, by the cost of the family. Raises InputError."""
        profile = self.profile(depth)
        found = self.cost_of_others(cost, profile).at(profile[self.elastic], batch)
        return replace(found, depth=profile) if self.stages and isinstance(depth, tuple) else found

    def cost_of_others(self, cost: CostModel, profile: Profile) -> CostModel:
        """The cost of a family of descendants whose other stages have the blocks of a profile. Raises FileFormatError."""
        more = self.more_blocks(profile)
        return cost.with_blocks(more) if any(more) else cost

    def more_blocks(self, profile: Profile) -> tuple[int, ...]:
        """How many blocks more than the auxiliary's each stage of a profile has; of the elastic one 0."""
        known = self.profile(profile[self.elastic])
        return tuple(blocks - there for blocks, there in zip(profile, known, strict=True))

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
