"""Parameters of plain ViTs: timm's names and a learngene's, and which shapes there are, from the structure alone."""

from typing import Final

from tleg.learngene.header import Structure

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


Shape = tuple[int, ...]


def block_shapes(structure: Structure) -> dict[str, Shape]:
    """The parameters of one block, by name inside the block, in timm's order."""
    width, hidden = structure.width, structure.hidden
    shapes: dict[str, Shape] = {"norm1.weight": (width,), "norm1.bias": (width,), "attn.qkv.weight": (3 * width, width)}
    if structure.qkv_bias:
        shapes["attn.qkv.bias"] = (3 * width,)
    shapes |= {"attn.proj.weight": (width, width), "attn.proj.bias": (width,)}
    if structure.layer_scale:
        shapes["ls1.gamma"] = (width,)
    shapes |= {
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (hidden, width),
        "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (width, hidden),
        "mlp.fc2.bias": (width,),
    }
    if structure.layer_scale:
        shapes["ls2.gamma"] = (width,)
    return shapes


def parameter_shapes(structure: Structure, num_classes: int) -> dict[str, Shape]:
    """The parameters of stem, one block and head by a learngene's names; those of the block without the axis of terms."""
    width = structure.width
    shapes: dict[str, Shape] = {}
    if structure.class_token:
        shapes["cls_token"] = (1, 1, width)
    if structure.registers:
        shapes["reg_token"] = (1, structure.registers, width)
    if structure.position != "none":
        shapes["pos_embed"] = (1, structure.tokens if structure.position == "all" else structure.patches, width)
    shapes["patch_embed.proj.weight"] = (width, structure.channels, *structure.patch_size)
    if structure.patch_bias:
        shapes["patch_embed.proj.bias"] = (width,)
    if structure.pre_norm:
        shapes |= {"norm_pre.weight": (width,), "norm_pre.bias": (width,)}
    shapes |= {BLOCK_PREFIX + name: shape for name, shape in block_shapes(structure).items()}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    shapes |= {"head.weight": (num_classes, width), "head.bias": (num_classes,)}
    return shapes
