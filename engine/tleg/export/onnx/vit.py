"""What a plain ViT computes, in ONNX nodes: stem, block, final norm, pooling and classifier.

The order of operations is timm's, so that results agree to rounding. Matrices are stored as [in, out]: MatMul takes them as
they are, and ONNX Runtime packs them once when it opens the file.

Where ONNX has several ways to say a thing, this is the one that the most runtimes read. The mean over tokens is a product
with a row of 1/N: pnnx drops the axes of opset 20's ReduceMean, which are an input, and so averages nothing, and OpenVINO
2024.0 refuses them. The head is a MatMul and an Add: tract refuses a Gemm in float16.

In float16 the images, weights, activations and logits are float16; nothing is kept in float32. Runtimes accumulate
LayerNorm, Softmax, mean and matrix products in float32 of their own accord (ONNX Runtime's CPU kernels convert).
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from tleg.export.onnx.graph import Graph
from tleg.learngene.architecture import Layout, Structure
from tleg.learngene.expansion import Array
from tleg.models.quantised import QuantisedTensor, as_floats

IMAGES = "images"
LOGITS = "logits"
# Gives the name of the ONNX value that holds a parameter, by its name inside the block; matrices as [in, out].
WeightSource = Callable[[str], str]
# Weights in floating point, or whole numbers with their scales.
Tensor = Array | QuantisedTensor
Stored = TypeVar("Stored", Array, QuantisedTensor, Tensor)


def as_stored(values: Stored) -> Stored:
    """Return values as the graph uses them: matrices, the last two axes, as [in, out]; contiguous.

    `values` has the terms or layers as its first axis: (n, out, in) becomes (n, in, out), and (n, width) stays.
    """
    return contiguous(values.transpose(0, 2, 1) if values.ndim == 3 else values)


def contiguous(values: Stored) -> Stored:
    """Return values in C order."""
    return values.contiguous() if isinstance(values, QuantisedTensor) else np.ascontiguousarray(values)


def add_stem(graph: Graph, structure: Structure, tensors: Mapping[str, Tensor]) -> str:
    """Add patch embedding, prefix tokens, position embedding; images (batch, C, H, W) -> (batch, tokens, width)."""
    patch = [IMAGES, graph.weight("patch_embed.proj.weight", tensors["patch_embed.proj.weight"])]
    if structure.patch_bias:
        patch.append(graph.weight("patch_embed.proj.bias", tensors["patch_embed.proj.bias"]))
    size = list(structure.patch_size)
    x = graph.add("Conv", patch, "patch_embed.proj", kernel_shape=size, strides=size)
    x = graph.add("Reshape", [x, graph.integers(0, structure.width, structure.patches)], "patch_embed.flat")
    x = graph.add("Transpose", [x], "patch_embed", perm=[0, 2, 1])
    positions = tensors["pos_embed"] if structure.position != "none" else None
    if structure.prefix_tokens:
        x = _prepend(graph, structure, x, positions, tensors)
    elif positions is not None:
        x = graph.add("Add", [x, graph.weight("pos_embed", contiguous(positions))], "patches")
    if structure.pre_norm:
        norm = [graph.weight(f"norm_pre.{name}", tensors[f"norm_pre.{name}"]) for name in ("weight", "bias")]
        x = _layer_norm(graph, structure, x, norm, "norm_pre")
    return x


def _prepend(
    graph: Graph, structure: Structure, patches: str, positions: Tensor | None, tensors: Mapping[str, Tensor]
) -> str:
    """Add prefix tokens before the patches, and the position embedding, as one sum: of the patches after rows of zeros, and
    of what does not depend on the image. A Concat would need as many copies of the tokens as there are images."""
    prefix = structure.prefix_tokens
    tokens = [as_floats(tensors[name]) for name in ("cls_token", "reg_token") if name in tensors]
    added = np.zeros((1, structure.tokens, structure.width), np.float32)
    added[:, :prefix] = np.concatenate(tokens, axis=1)
    if positions is not None:
        added[:, structure.tokens - positions.shape[1] :] += as_floats(positions)
    # With the value and the mode, which are the defaults: pnnx passes over a Pad without them.
    sides, zero = graph.integers(0, prefix, 0, 0, 0, 0), graph.weight("zero", np.zeros((), np.float32))
    padded = graph.add("Pad", [patches, sides, zero], "patches", mode="constant")
    if isinstance(positions, QuantisedTensor):
        # Of the patches they stay whole numbers.
        ahead = graph.weight("prefix_embed", np.ascontiguousarray(added[:, :prefix]))
        behind = graph.weight("pos_embed", positions.rows(positions.shape[1] - structure.patches))
        return graph.add("Add", [padded, graph.add("Concat", [ahead, behind], "token_embed", axis=1)], "embedded")
    return graph.add("Add", [padded, graph.weight("token_embed", added)], "embedded")


def _layer_norm(graph: Graph, structure: Structure, x: str, parameters: list[str], output: str) -> str:
    return graph.add("LayerNormalization", [x, *parameters], output, axis=-1, epsilon=structure.eps)


def add_block(
    graph: Graph, structure: Structure, x: str, prefix: str, weight: WeightSource, output: str, *, pieces: int = 0
) -> str:
    """Add one block; x (batch, tokens, width) -> `output` of the same shape. `prefix` begins the names of its values.

    With `pieces` above 0 the block is worked off in pieces whose weights `weight` knows by the names of `cut`: queries, keys
    and values one after the other, and the MLP's hidden layer in that many parts.
    """
    norm = [weight("norm1.weight"), weight("norm1.bias")]
    normed = _layer_norm(graph, structure, x, norm, f"{prefix}norm1")
    branch = _attention(graph, structure, normed, prefix, weight, separate=pieces > 0)
    x = _add_branch(graph, structure, x, branch, "ls1", prefix, weight, f"{prefix}attn.residual")
    norm = [weight("norm2.weight"), weight("norm2.bias")]
    normed = _layer_norm(graph, structure, x, norm, f"{prefix}norm2")
    branch = _mlp(graph, normed, prefix, weight, pieces)
    return _add_branch(graph, structure, x, branch, "ls2", prefix, weight, output)


def cut(name: str, values: Tensor, pieces: int) -> dict[str, Tensor]:
    """Cut a block's parameter into the pieces that `add_block` asks for; most are one piece, under their own name.

    `values` has the terms as its first axis and matrices as [in, out], as `as_stored` returns them.
    """
    kind = name.rpartition(".")[2]
    if name.startswith("attn.qkv."):
        names, axis = [f"attn.{part}.{kind}" for part in "qkv"], -1
    elif name.startswith("mlp.fc1.") or name == "mlp.fc2.weight":
        layer = name.removesuffix(f".{kind}")
        names, axis = [f"{layer}.{piece}.{kind}" for piece in range(pieces)], -1 if layer == "mlp.fc1" else 1
    else:
        return {name: values}
    parts = values.split(len(names), axis) if isinstance(values, QuantisedTensor) else np.split(values, len(names), axis)
    return dict(zip(names, parts, strict=True))


def _add_branch(
    graph: Graph, structure: Structure, x: str, branch: str, scale: str, prefix: str, weight: WeightSource, output: str
) -> str:
    if structure.layer_scale:
        branch = graph.add("Mul", [branch, weight(f"{scale}.gamma")], f"{prefix}{scale}")
    return graph.add("Add", [x, branch], output)


def _attention(graph: Graph, structure: Structure, x: str, prefix: str, weight: WeightSource, *, separate: bool) -> str:
    heads, width = structure.heads, structure.width // structure.heads
    outer, prefix = prefix, f"{prefix}attn."
    if separate:
        parts = [_linear(graph, x, f"attn.{part}", outer, weight, bias=structure.qkv_bias) for part in "qkv"]
        flat = dict(zip("qkv", parts, strict=True))
    else:
        joint = _linear(graph, x, "attn.qkv", outer, weight, bias=structure.qkv_bias)
        flat = {part: f"{prefix}{part}" for part in "qkv"}
        graph.split(joint, list(flat.values()), axis=-1)
    by_head = graph.integers(0, structure.tokens, heads, width)
    # Keys are transposed right away to (batch, heads, head width, tokens), what the product with the queries takes.
    orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    split = {part: graph.add("Reshape", [value, by_head], f"{prefix}{part}.split") for part, value in flat.items()}
    query, key, value = (
        graph.add("Transpose", [split[part]], f"{prefix}{part}.heads", perm=order) for part, order in orders.items()
    )
    scale = graph.weight("attn.scale", np.array(width**-0.5, np.float32))
    scores = graph.add("MatMul", [graph.add("Mul", [query, scale], f"{prefix}q.scaled"), key], f"{prefix}scores")
    shares = graph.add("Softmax", [scores], f"{prefix}shares", axis=-1)
    mixed = graph.add("MatMul", [shares, value], f"{prefix}mixed")
    mixed = graph.add("Transpose", [mixed], f"{prefix}mixed.tokens", perm=[0, 2, 1, 3])
    mixed = graph.add("Reshape", [mixed, graph.integers(0, structure.tokens, structure.width)], f"{prefix}joined")
    return _linear(graph, mixed, "attn.proj", outer, weight)


def _mlp(graph: Graph, x: str, prefix: str, weight: WeightSource, pieces: int) -> str:
    if not pieces:
        hidden = graph.add("Gelu", [_linear(graph, x, "mlp.fc1", prefix, weight)], f"{prefix}mlp.act")
        return _linear(graph, hidden, "mlp.fc2", prefix, weight)
    total = ""
    for piece in range(pieces):
        hidden = graph.add("Gelu", [_linear(graph, x, f"mlp.fc1.{piece}", prefix, weight)], f"{prefix}mlp.act.{piece}")
        part = _linear(graph, hidden, f"mlp.fc2.{piece}", prefix, weight, bias=False)
        total = graph.add("Add", [total, part], f"{prefix}mlp.sum.{piece}") if total else part
    return graph.add("Add", [total, weight("mlp.fc2.bias")], f"{prefix}mlp.fc2")


def _linear(graph: Graph, x: str, name: str, prefix: str, weight: WeightSource, *, bias: bool = True) -> str:
    product = graph.add("MatMul", [x, weight(f"{name}.weight")], f"{prefix}{name}.product")
    return graph.add("Add", [product, weight(f"{name}.bias")], f"{prefix}{name}") if bias else product


def add_pooled(
    graph: Graph, structure: Structure, x: str, tensors: Mapping[str, Tensor], layout: Layout, output: str = ""
) -> str:
    """Add final norm and pooling; x (batch, tokens, width) -> (batch, width), by the name of `output` where it is given.

    The auxiliary layout normalises, then pools; the official one pools, then normalises.
    """
    name = "fc_norm" if layout == "official" else "norm"
    if layout == "official" or structure.pool == "token":
        # LayerNorm treats tokens one by one, so the class token alone needs it.
        pooled = _pool(graph, structure, x, "pooled.raw" if output else "pooled")
        return add_final_norm(graph, structure, pooled, tensors, name, output or name)
    return _pool(graph, structure, add_final_norm(graph, structure, x, tensors, name, name), output or "pooled")


def add_final_norm(graph: Graph, structure: Structure, x: str, tensors: Mapping[str, Tensor], name: str, output: str) -> str:
    """Add the norm that follows the blocks, whose parameters are called `name` in the graph."""
    norm = [graph.weight(f"{name}.{kind}", tensors[f"norm.{kind}"]) for kind in ("weight", "bias")]
    return _layer_norm(graph, structure, x, norm, output)


def add_classifier(graph: Graph, pooled: str, tensors: Mapping[str, Tensor], output: str = LOGITS) -> str:
    """Add the head; pooled (batch, width) -> `output` (batch, classes)."""
    weight = graph.weight("head.weight", as_stored(tensors["head.weight"][np.newaxis])[0])
    product = graph.add("MatMul", [pooled, weight], "head.product")
    return graph.add("Add", [product, graph.weight("head.bias", tensors["head.bias"])], output)


def add_patches(graph: Graph, structure: Structure, x: str, output: str) -> str:
    """Leave out the prefix tokens; x (batch, tokens, width) -> (batch, patches, width), `x` itself where there are none."""
    if not structure.prefix_tokens:
        return x
    bounds = [graph.integers(structure.prefix_tokens), graph.integers(structure.tokens), graph.integers(1)]
    return graph.add("Slice", [x, *bounds], output)


def _pool(graph: Graph, structure: Structure, x: str, output: str) -> str:
    if structure.pool == "token":
        return graph.add("Gather", [x, graph.initializer("integer.0", np.array(0, np.int64))], output, axis=1)
    x = add_patches(graph, structure, x, "patches.out")
    share = graph.weight("pool.share", np.full((1, structure.patches), 1 / structure.patches, np.float32))
    mean = graph.add("MatMul", [share, x], "pooled.row")
    return graph.add("Reshape", [mean, graph.integers(0, structure.width)], output)
