"""Plain ViTs: which parameters they have, from their structure alone.

Names and shapes are those of timm's VisionTransformer with plain blocks, in the auxiliary layout: the final norm is called
'norm' and precedes pooling. Standard library only, so that a header can be checked against its tensors without torch.
"""

from tleg.header import Structure
from tleg.names import BLOCK_PREFIX

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
