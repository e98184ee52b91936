"""What a descendant costs at a depth: parameters, MACs, bytes. Arithmetic only.

All of it is exactly affine in depth, because every layer costs the same. So a learngene carries what was measured at depths
1 and 2 (`tleg.models.flops`), split by part, and any depth is a multiplication away. MACs are multiply-accumulates in
fvcore's convention with attention counted; papers on ViTs print the same figure as "FLOPs".
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tleg.errors import FileFormatError, InputError
from tleg.learngene.basis import check_depth
from tleg.learngene.profile import Depth
from tleg.serialize import LEFT_OUT_WHEN_NONE

BYTES_PER_VALUE: Final = {"float32": 4, "float16": 2}
# AdamW in float32: the weight, its gradient and two moments.
TRAINING_BYTES_PER_PARAMETER: Final = 16


@dataclass(frozen=True, slots=True)
class PartCosts:
    """One figure split by part. attention, mlp and norm are of one layer; stem and head occur once, at any depth."""

    attention: int
    mlp: int
    norm: int
    stem: int
    head: int

    def __post_init__(self) -> None:
        if min(self.attention, self.mlp, self.norm, self.stem, self.head) < 0:
            raise FileFormatError("a cost cannot be negative")

    def at(self, depth: int) -> int:
        """The total at a depth."""
        return self.stem + self.head + depth * (self.attention + self.mlp + self.norm)

    def with_more(self, more: int) -> "PartCosts":
        """The figure with so much more in what occurs once."""
        return replace(self, stem=self.stem + more)

    def split(self, depth: int) -> dict[str, int]:
        """The total at a depth, by part."""
        return {
            "attention": depth * self.attention,
            "mlp": depth * self.mlp,
            "norm": depth * self.norm,
            "stem": self.stem,
            "head": self.head,
        }


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one more block of a stage costs: parameters, multiply-accumulates for one image, activation bytes in training."""

    parameters: int
    macs: int
    training_bytes: int

    def __post_init__(self) -> None:
        if min(self.parameters, self.macs, self.training_bytes) < 0:
            raise FileFormatError("a cost cannot be negative")


@dataclass(frozen=True, slots=True)
class CostModel:
    """The measured cost of a family of descendants.

    parameters                    counts
    macs                          multiply-accumulates for one image
    training_bytes_base,          float32 activations kept for the backward pass, for one image: base + depth * per_layer
    training_bytes_per_layer
    inference_bytes               float32 activations alive at once in the forward pass, for one image, at any depth
    stages                        what one more block of each stage costs, where there are several; those of stages that are
                                  not elastic count in all else as the stem does
    """

    parameters: PartCosts
    macs: PartCosts
    training_bytes_base: int
    training_bytes_per_layer: int
    inference_bytes: int
    stages: tuple[StageCost, ...] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def with_blocks(self, more: Sequence[int]) -> "CostModel":
        """The cost with so many more blocks, or fewer, in each stage. Raises FileFormatError where that is not known."""
        if self.stages is None or len(self.stages) != len(more):
            raise FileFormatError(
                "the costs of its stages are not known: the file is of an earlier tleg; give a depth that is one number"
            )
        added = list(zip(more, self.stages, strict=True))
        return replace(
            self,
            parameters=self.parameters.with_more(sum(count * each.parameters for count, each in added)),
            macs=self.macs.with_more(sum(count * each.macs for count, each in added)),
            training_bytes_base=self.training_bytes_base + sum(count * each.training_bytes for count, each in added),
        )

    def at(self, depth: int, batch: int = 1) -> "DepthCost":
        """What a descendant of this depth costs, with memory for a batch of so many images.

        Raises DepthError, or InputError when the batch is smaller than 1.
        """
        check_depth(depth)
        if batch < 1:
            raise InputError(f"a batch has at least 1 image, not {batch}", field="batch", code="out-of-range")
        parameters = self.parameters.at(depth)
        activations = self.training_bytes_base + depth * self.training_bytes_per_layer
        return DepthCost(
            depth=depth,
            parameters=parameters,
            macs=self.macs.at(depth),
            size=parameters * BYTES_PER_VALUE["float32"],
            inference_memory=parameters * BYTES_PER_VALUE["float32"] + batch * self.inference_bytes,
            training_memory=parameters * TRAINING_BYTES_PER_PARAMETER + batch * activations,
        )


@dataclass(frozen=True, slots=True)
class DepthCost:
    """The cost of one descendant, of a depth or a profile: counts, multiply-accumulates for one image, and bytes (float32).

    size is that of the weights. inference_memory and training_memory are estimates for the batch asked for: weights and
    activations, in training also gradients and the two moments of AdamW; what a framework or driver takes is not in them.
    """

    depth: Depth
    parameters: int
    macs: int
    size: int
    inference_memory: int
    training_memory: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits; None is no limit. Bytes for size and memory, seconds for latency, counts for the others."""

    parameters: int | None = None
    macs: int | None = None
    size: int | None = None
    inference_memory: int | None = None
    training_memory: int | None = None
    latency: float | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(getattr(self, name) is not None for name in self.__slots__)

    def exceeded_by(self, cost: DepthCost, latency: float | None = None) -> tuple[str, ...]:
        """The names of the limits that a cost exceeds; empty when it fits.

        latency  of the depth on a device, in seconds; one that is not known keeps no limit
        """
        taken = {name: getattr(cost, name) for name in self.__slots__ if name != "latency"}
        taken["latency"] = math.inf if latency is None else latency
        return tuple(name for name, value in taken.items() if (limit := getattr(self, name)) is not None and value > limit)

    def deepest(self, costs: Iterable[DepthCost]) -> DepthCost | None:
        """The deepest of the costs that fits, of profiles the one that computes most; None when none does."""
        return max((cost for cost in costs if not self.exceeded_by(cost)), key=lambda cost: cost.macs, default=None)
