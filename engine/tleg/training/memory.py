"""How much memory a training needs, before it is tried."""

from dataclasses import dataclass
from typing import Final

from tleg.cost import CostModel
from tleg.header import Structure
from tleg.quantities import format_bytes

# States of the size of the weights that an optimiser keeps.
_STATES: Final = {"adamw": 2, "adam": 2, "nadamw": 2, "adopt": 2, "lamb": 2, "lion": 1, "sgd": 1, "momentum": 1}
_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
_FLOAT32: Final = 4


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on each device. Activations are those that the backward pass needs; None where they cannot be foretold."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int | None
    teacher: int

    @property
    def total(self) -> int:
        """All that is known of."""
        return self.weights + self.gradients + self.optimizer + self.average + (self.activations or 0) + self.teacher


@dataclass(frozen=True, slots=True)
class Load:
    """What a training puts on a device.

    parameters          that are trained
    images              computed at once: the batch over processes and accumulated parts
    depth, structure    of a plain ViT; None for other models, whose activations are not estimated
    expanded            parameters of the layers that an auxiliary model makes from its terms, with their gradients; else 0
    teacher_parameters  of a teacher, else 0
    """

    parameters: int
    images: int
    precision: str
    optimizer: str
    ema: bool
    gradient_checkpointing: bool
    depth: int | None = None
    structure: Structure | None = None
    expanded: int = 0
    teacher_parameters: int = 0


def estimate_memory(load: Load) -> MemoryEstimate:
    """Return the estimate. What torch and CUDA need for themselves, about a gigabyte on a GPU, is not in it."""
    weights = load.parameters * _FLOAT32
    activations = None
    if load.structure is not None and load.depth is not None:
        activations = _activations(load, load.structure, load.depth)
    return MemoryEstimate(
        weights=weights,
        gradients=weights,
        optimizer=weights * _STATES[load.optimizer],
        average=weights if load.ema else 0,
        # The expanded weights and their gradients live as long as activations do.
        activations=None if activations is None else activations + 2 * _FLOAT32 * load.expanded,
        teacher=load.teacher_parameters * _FLOAT32,
    )


def _activations(load: Load, structure: Structure, depth: int) -> int:
    """What the backward pass of a ViT keeps, with attention that stores no scores (scaled_dot_product_attention).

    In values a token, a block keeps in float32 its input and that of its second norm (width each) with two numbers for each
    norm and one for each head, whatever the precision; and in the precision of the matrix products both normalised inputs
    (width each), queries, keys and values (3 width), attention's output (width), the hidden layer before and after its
    activation, and with layer scale what is scaled (2 width). With gradient checkpointing every block keeps its input, and
    one block all. In half precision there are copies of the weights as well, of one block with gradient checkpointing.
    """
    width, tokens, precise = structure.width, structure.tokens, _BYTES[load.precision]
    scaled = 2 * width if structure.layer_scale else 0
    single = 2 * width + 4 + structure.heads
    block = tokens * (single * _FLOAT32 + (6 * width + 2 * structure.hidden + scaled) * precise)
    blocks = depth * tokens * width * _FLOAT32 + block if load.gradient_checkpointing else depth * block
    height, breadth = structure.image_size
    # Of the final norm, all tokens before the class token is taken, or the mean over tokens.
    final = (tokens if structure.pool == "token" else 1) * width * _FLOAT32
    before = tokens * width * _FLOAT32 if structure.pre_norm else 0
    kept = load.images * (structure.channels * height * breadth * precise + before + blocks + final)
    if precise == _FLOAT32:
        return kept
    copies = (load.expanded or load.parameters) * precise
    return kept + (copies // depth if load.gradient_checkpointing else copies)


def advise(estimate: MemoryEstimate, available: int) -> str | None:
    """Return what to change when an estimate is more than the memory that is available, else None."""
    if estimate.total <= available:
        return None
    needed = f"about {format_bytes(estimate.total)} are needed and {format_bytes(available)} are available"
    if (estimate.activations or 0) > estimate.total / 3:
        return f"{needed}: give --accumulate 2 or more, --gradient-checkpointing, or a smaller --batch-size"
    return f"{needed}: choose a smaller model or teacher, or another device"


def checkpoint_bytes(load: Load) -> int:
    """Return the size of a checkpoint."""
    return load.parameters * _FLOAT32 * (1 + _STATES[load.optimizer] + int(load.ema))


def expanded_parameters(cost: CostModel, depth: int) -> int:
    """Return the parameters of all layers at a depth."""
    return cost.at(depth).parameters - (2 * cost.at(1).parameters - cost.at(2).parameters)
