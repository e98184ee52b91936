"""A plain ViT read from an ONNX file of somebody's: which constants are which parameters, by what the graph computes.

Exporters name weights as they like, transpose those of linear maps, and split queries, keys and values or not. So names
count for nothing here. The graph is walked in its order as a sequence of what has parameters: convolutions, linear maps,
norms, scales and tokens. A ViT is a patch embedding, tokens and positions, blocks of norm, attention, norm and MLP, and a
norm. Which of three linear maps makes the queries shows where the attention's softmax is.

Whoever reads weights so compares outputs afterwards (`tleg.export.onnx.imported`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tleg.errors import FileFormatError
from tleg.export.onnx.parts import PASSING, Graph, Part, Values, attribute


@dataclass(frozen=True, slots=True, eq=False)
class VitInOnnx:
    """A plain ViT as an ONNX file has it.

    tensors      by timm's names, without those of a head where there is none
    depth, width, patch_size, channels  of the model
    class_token  whether there is one; `positions` the patch tokens that have an embedding
    layer_scale, pre_norm, qkv_bias     as of `tleg.learngene.header.Structure`
    classes      outputs of the head; 0 without one
    pool         'avg' or 'token', of a model with a head; else ''
    eps          of the norms
    pixels       the tensor that the patch embedding takes; `softmax` one of attention's, (N, heads, tokens, tokens);
                 `features` what the final norm gives, (N, tokens, width); `logits` of a head
    """

    tensors: Mapping[str, Values]
    depth: int
    width: int
    patch_size: tuple[int, int]
    channels: int
    class_token: bool
    positions: int
    layer_scale: bool
    pre_norm: bool
    classes: int
    pool: str
    eps: float
    pixels: str
    softmax: str
    features: str
    logits: str

    @property
    def hidden(self) -> int:
        """The width of the MLP's hidden layer."""
        return int(self.tensors["blocks.0.mlp.fc1.weight"].shape[0])

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return "blocks.0.attn.qkv.bias" in self.tensors


def load_graph(path: Path) -> Any:
    """Load an ONNX file with its weights. Raises FileFormatError when it is none."""
    import onnx

    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own, and of files with weights beside them.
        raise FileFormatError(f"{path} is damaged, or not an ONNX file") from error


def read_vit(model: Any, name: str) -> VitInOnnx:
    """Return the plain ViT in a loaded ONNX file. Raises FileFormatError, which says what was expected where."""
    try:
        return _Reader(Graph(model.graph)).read()
    except _UnexpectedError as error:
        raise FileFormatError(f"{name} holds no plain ViT that tleg can read: {error}") from error


class _UnexpectedError(Exception):
    """The graph is no ViT of the kind that is read."""


class _Reader:
    """Takes the parts of a graph in their order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.parts = list(graph.parts())
        self.place = 0
        self.tensors: dict[str, Values] = {}

    def read(self) -> VitInOnnx:
        """Read the model."""
        patches = self._patches()
        width = len(patches.weight)
        pre_norm = self._peek("norm") and self._peek("norm", 1)
        if pre_norm:
            self._norm("norm_pre", width)
        tokens = self._tokens(width, patches.made)
        depth, scaled, eps, softmax = 0, False, 1e-6, ""
        # A head is a linear map that no other follows.
        while self._peek("norm") and self._width_at(1) in (width, 3 * width) and self._peek("linear", 2):
            eps, softmax, scaled = self._block(depth, width)
            depth += 1
        if not depth:
            raise _UnexpectedError("after the patch embedding there is no block of norm, attention, norm and MLP")
        final = self._norm("norm", width)
        if self.graph.averages(final.given, patches.made):
            raise _UnexpectedError("its final norm follows the pooling")
        head = self._head(width)
        if head is not None:
            self._put("head", head)
        return VitInOnnx(
            tensors={name: np.array(values, np.float32, order="C") for name, values in self.tensors.items()},
            depth=depth,
            width=width,
            patch_size=(patches.weight.shape[2], patches.weight.shape[3]),
            channels=int(patches.weight.shape[1]),
            class_token=bool(tokens[0]),
            positions=tokens[1],
            layer_scale=scaled,
            pre_norm=pre_norm,
            classes=0 if head is None else len(head.weight),
            pool="" if head is None else "avg" if self.graph.averages(head.given, final.made) else "token",
            eps=eps,
            pixels=patches.given,
            softmax=softmax,
            features=final.made,
            logits="" if head is None else head.made,
        )

    def _patches(self) -> Part:
        """The first convolution whose kernel is as large as its step."""
        for index, part in enumerate(self.parts):
            if part.kind == "conv" and part.weight.ndim == 4:
                if list(part.weight.shape[2:]) != list(attribute(part.node, "strides", [1, 1])):
                    break
                self.place = index + 1
                self._put("patch_embed.proj", part)
                return part
        raise _UnexpectedError("it does not begin with a convolution of patches, whose kernel is as large as its step")

    def _tokens(self, width: int, patches: str) -> tuple[int, int]:
        """Class token and position embeddings: constants (1, n, width), or (n, width), that nothing else takes.

        Returns how many prefix tokens there are, and how many patches have an embedding.
        """
        used = [
            name
            for name, values in self.graph.constants.items()
            if values.ndim in (2, 3) and values.shape[-1] == width and values.ndim - (values.shape[0] == 1) <= 2
            if any(each.op_type in ("Concat", "Expand", "Add", "Reshape", "Tile") for each in self.graph.takers[name])
        ]
        order = {name: place for place, node in enumerate(self.graph.nodes) for name in node.input if name in used}
        found = [self.graph.constants[name].reshape(1, -1, width) for name in sorted(used, key=lambda name: order[name])]
        apart, many = ([each for each in found if (each.shape[1] == 1) == alone] for alone in (True, False))
        if len(many) != 1 or len(apart) > 2:
            raise _UnexpectedError(f"it has {len(many)} position embeddings of patches and {len(apart)} of single tokens")
        (positions,) = many
        if len(apart) == 2:
            # The class token's position is kept apart, as in models for images of any size, and is added to the token.
            self.tensors["cls_token"] = apart[0]
            self.tensors["pos_embed"] = np.concatenate([apart[1], positions], axis=1)
            return 1, positions.shape[1]
        count = positions.shape[1]
        if not apart and math.isqrt(count) ** 2 != count and math.isqrt(count - 1) ** 2 == count - 1:
            # A class token to which its position has been added: as good as a token without one.
            apart = [positions[:, :1]]
            positions = np.concatenate([np.zeros_like(apart[0]), positions[:, 1:]], axis=1)
        self.tensors["pos_embed"] = positions
        if apart:
            self.tensors["cls_token"] = apart[0]
        return len(apart), count - len(apart)

    def _block(self, number: int, width: int) -> tuple[float, str, bool]:
        name = f"blocks.{number}."
        norm = self._norm(f"{name}norm1", width)
        maps = [self._take("linear", f"the attention of block {number}")]
        if len(maps[0].weight) == width:
            maps += [self._take("linear", f"the attention of block {number}") for _ in range(2)]
        if any(each.given != norm.made for each in maps):
            raise _UnexpectedError(f"queries, keys and values of block {number} are not made of its first norm")
        softmax, order = self._attention(maps, number)
        self._put(f"{name}attn.qkv", *(maps[place] for place in order))
        self._put(f"{name}attn.proj", self._take("linear", f"the projection of block {number}"))
        scaled = self._scale(f"{name}ls1.gamma")
        self._norm(f"{name}norm2", width)
        for layer in ("fc1", "fc2"):
            self._put(f"{name}mlp.{layer}", self._take("linear", f"the MLP of block {number}"))
        if self._scale(f"{name}ls2.gamma") != scaled:
            raise _UnexpectedError(f"block {number} scales one of its two branches alone")
        return norm.eps or 0.0, softmax, scaled

    def _attention(self, maps: Sequence[Part], number: int) -> tuple[str, tuple[int, ...]]:
        """The softmax of a block's attention, and which of its maps make queries, keys and values."""
        wanted = {part.made: place for place, part in enumerate(maps)}
        for node in self.graph.nodes:
            if node.op_type != "Softmax":
                continue
            scores = self._product(node.input[0])
            weighted = next((each for each in self._after(node.output[0]) if each.op_type == "MatMul"), None)
            if scores is None or weighted is None:
                continue
            found = [self.graph.sources(each, wanted) for each in (*scores.input[:2], weighted.input[1])]
            if len(maps) == 1 and any(found):
                return node.output[0], (0,)
            if all(len(each) == 1 for each in found) and len(set.union(*found)) == len(maps):
                return node.output[0], tuple(each.pop() for each in found)
        raise _UnexpectedError(f"the softmax of block {number}'s attention is not to be found")

    def _product(self, tensor: str) -> Any:
        """The product of two tensors that a softmax's input is made of."""
        for _ in range(8):
            maker = self.graph.makers.get(tensor)
            if maker is None or maker.op_type == "MatMul":
                return maker
            tensor = next((each for each in maker.input if each not in self.graph.constants), maker.input[0])
        return None

    def _after(self, tensor: str) -> list[Any]:
        """Who takes a tensor, or what hands it on unchanged."""
        takers = self.graph.takers[tensor]
        return [*takers, *(more for each in takers if each.op_type in PASSING for more in self._after(each.output[0]))]

    def _head(self, width: int) -> Part | None:
        """The linear map after the final norm whose result is an output of the graph."""
        rest = self.parts[self.place :]
        found = [part for part in rest if part.kind == "linear" and part.weight.shape[1] == width]
        return next((part for part in found if part.made in self.graph.outputs), None)

    def _scale(self, name: str) -> bool:
        if not self._peek("scale"):
            return False
        self.tensors[name] = self._take("scale", name).weight
        return True

    def _norm(self, name: str, width: int) -> Part:
        part = self._take("norm", f"'{name}'")
        if len(part.weight) != width or part.bias is None:
            raise _UnexpectedError(f"'{name}' has no weight and bias of width {width}")
        self._put(name, part)
        return part

    def _put(self, name: str, *parts: Part) -> None:
        """Parameters of one part, or of several whose outputs follow one another."""
        self.tensors[f"{name}.weight"] = np.concatenate([part.weight for part in parts])
        biases = [part.bias for part in parts if part.bias is not None]
        if len(biases) == len(parts):
            self.tensors[f"{name}.bias"] = np.concatenate(biases)
        elif biases:
            # Of queries and values alone (BEiT): keys are without.
            zeros = [np.zeros(len(part.weight), np.float32) if part.bias is None else part.bias for part in parts]
            self.tensors[f"{name}.bias"] = np.concatenate(zeros)

    def _peek(self, kind: str, ahead: int = 0) -> bool:
        place = self.place + ahead
        return place < len(self.parts) and self.parts[place].kind == kind

    def _width_at(self, ahead: int) -> int:
        return len(self.parts[self.place + ahead].weight) if self._peek("linear", ahead) else 0

    def _take(self, kind: str, what: str) -> Part:
        if not self._peek(kind):
            found = self.parts[self.place].kind if self.place < len(self.parts) else "nothing"
            raise _UnexpectedError(f"there is {found} where {what} should be")
        self.place += 1
        return self.parts[self.place - 1]
