"""Names of parameters: timm's ('blocks.3.norm1.bias') and a learngene's ('blocks.norm1.bias', for all layers)."""

from typing import Final

BLOCK_PREFIX: Final = "blocks."


def is_block(name: str) -> bool:
    """Whether a parameter, under either name, belongs to the blocks."""
    return name.startswith(BLOCK_PREFIX)


def inner_name(name: str) -> str:
    """The name inside the block of a learngene's parameter: 'norm1.bias' for 'blocks.norm1.bias'."""
    return name.removeprefix(BLOCK_PREFIX)


def layer_name(layer: int, inner: str) -> str:
    """timm's name of a block's parameter: layer_name(3, 'norm1.bias') is 'blocks.3.norm1.bias'."""
    return f"{BLOCK_PREFIX}{layer}.{inner}"


def learngene_name(name: str) -> str:
    """The learngene's name of timm's parameter: 'blocks.norm1.bias' for 'blocks.3.norm1.bias', others unchanged."""
    if not is_block(name):
        return name
    return BLOCK_PREFIX + inner_name(name).partition(".")[2]


def official_layout_name(name: str) -> str:
    """The name in the official layout, where the final norm follows pooling: 'fc_norm.bias' for 'norm.bias'."""
    return f"fc_{name}" if name.startswith("norm.") else name


def auxiliary_layout_name(name: str) -> str:
    """The name in the auxiliary layout of a parameter of the official one: 'norm.bias' for 'fc_norm.bias'."""
    return name.removeprefix("fc_") if name.startswith("fc_norm.") else name
