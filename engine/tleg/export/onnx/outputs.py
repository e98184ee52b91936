"""What a plain ViT gives, in ONNX nodes: logits, the pooled vector, tokens, or the maps after blocks."""

from collections.abc import Mapping, Sequence

from onnx import GraphProto, helper

from tleg.export.onnx.graph import Graph
from tleg.export.onnx.vit import IMAGES, Tensor, add_classifier, add_final_norm, add_patches, add_pooled
from tleg.learngene.architecture import Layout, Structure
from tleg.models.output import Output


def add_outputs(
    graph: Graph,
    structure: Structure,
    after: Sequence[str],
    tensors: Mapping[str, Tensor],
    layout: Layout,
    output: Output,
    suffix: str = "",
) -> dict[str, list[int]]:
    """Add what is asked for; return the shape, of one image, of each output by its name.

    after   the values (batch, tokens, width) after each block, up to the last that is needed
    suffix  of the names in the graph, where more follows before the outputs
    """
    if output.kind == "blocks":
        shapes = {}
        rows, columns = (side // step for side, step in zip(structure.image_size, structure.patch_size, strict=True))
        for name, place in zip(output.names, output.places, strict=True):
            patches = add_patches(graph, structure, after[place - 1], f"{name}.patches")
            turned = graph.add("Transpose", [patches], f"{name}.flat", perm=[0, 2, 1])
            shape = graph.integers(0, structure.width, rows, columns)
            graph.add("Reshape", [turned, shape], f"{name}{suffix}")
            shapes[name] = [structure.width, rows, columns]
        return shapes
    (name,) = output.names
    if output.kind == "tokens":
        x = after[-1]
        if layout == "official":  # Whose norm follows the pooling.
            graph.add("Identity", [x], f"{name}{suffix}")
        else:
            add_final_norm(graph, structure, x, tensors, "norm", f"{name}{suffix}")
        return {name: [structure.tokens, structure.width]}
    if output.kind == "pooled":
        add_pooled(graph, structure, after[-1], tensors, layout, f"{name}{suffix}")
        return {name: [structure.width]}
    assert output.of_classes, "a plain ViT has no stages"
    pooled = add_pooled(graph, structure, after[-1], tensors, layout)
    add_classifier(graph, pooled, tensors, f"{name}{suffix}")
    return {name: [tensors["head.bias"].shape[0]]}


def add_guards(graph: Graph, names: Sequence[str], suffix: str, guard: str) -> None:
    """Add a guard, of any shape that is broadcast, to each of the outputs that have the suffix as yet."""
    for name in names:
        graph.add("Add", [f"{name}{suffix}", guard], name)


def blocks_needed(depth: int, output: Output) -> int:
    """How many of the blocks decide the outputs."""
    return output.places[-1] if output.kind == "blocks" else depth


def finish(graph: Graph, structure: Structure, outputs: Mapping[str, Sequence[int]]) -> GraphProto:
    """Return the graph with its input and outputs (their shapes of one image, by name), without initializers."""
    images: list[str | int | None] = ["batch", structure.channels, *structure.image_size]
    return helper.make_graph(
        graph.nodes,
        "tleg",
        [helper.make_tensor_value_info(IMAGES, graph.onnx_type, images)],
        [helper.make_tensor_value_info(name, graph.onnx_type, ["batch", *shape]) for name, shape in outputs.items()],
    )
