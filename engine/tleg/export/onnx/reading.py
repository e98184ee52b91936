"""A plain ViT read from an ONNX file of somebody's: which constants are which parameters, by what the graph computes.

Exporters name weights as they like, transpose those of linear maps, and split queries, keys and values or not. So names
count for nothing here. The graph is walked in its order as a sequence of what has parameters: convolutions, linear maps,
norms, scales and tokens. A ViT is a patch embedding, tokens and positions, blocks of norm, attention, norm and MLP, and a
norm. Which of three linear maps makes the queries shows where the attention's softmax is.

Whoever reads weights so compares outputs afterwards (`tleg.export.onnx.imported`).
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import FileFormatError

Values = NDArray[Any]
# What hands on a tensor's values, each or in another order.
_PASSING: Final = frozenset(
    {"Reshape", "Transpose", "Cast", "Identity", "Dropout", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Split"}
)
_ELEMENTWISE: Final = frozenset({"Mul", "Div", "Add", "Where"})


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Something with parameters.

    kind    'conv', 'linear', 'norm' or 'scale'
    given   the tensor that it takes, `made` the one that it gives
    weight  of a linear map (outputs, inputs), as torch has it
    bias    None where there is none
    node    of a convolution, for its attributes; else None
    """

    kind: str
    given: str
    made: str
    weight: Values
    bias: Values | None = None
    node: Any = None
    eps: float | None = None


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
        return _Reader(_Graph(model.graph)).read()
    except _UnexpectedError as error:
        raise FileFormatError(f"{name} holds no plain ViT that tleg can read: {error}") from error


class _UnexpectedError(Exception):
    """The graph is no ViT of the kind that is read."""


class _Graph:
    """A graph with its constants as arrays, and who makes and takes each tensor."""

    def __init__(self, graph: Any) -> None:
        from onnx import numpy_helper

        self.nodes = list(graph.node)
        self.constants: dict[str, Values] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self.makers: dict[str, Any] = {}
        self.takers: dict[str, list[Any]] = defaultdict(list)
        self.outputs = [each.name for each in graph.output]
        for node in self.nodes:
            if node.op_type == "Constant":
                value = next((each.t for each in node.attribute if each.name == "value"), None)
                if value is not None:
                    self.constants[node.output[0]] = numpy_helper.to_array(value)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
            elif node.op_type == "Transpose" and node.input[0] in self.constants:
                order = next((list(each.ints) for each in node.attribute if each.name == "perm"), None)
                self.constants[node.output[0]] = np.transpose(self.constants[node.input[0]], order)
            for each in node.output:
                self.makers[each] = node
            for each in node.input:
                self.takers[each].append(node)

    def parts(self) -> Iterator[Part]:
        """What has parameters, in the graph's order."""
        for node in self.nodes:
            part = self._part(node)
            if part is not None:
                yield part

    def _part(self, node: Any) -> Part | None:
        known = [self.constants.get(each) for each in node.input]
        match node.op_type:
            case "Conv":
                return None if known[1] is None else self._conv(node, known)
            case "MatMul" if known[1] is not None and known[1].ndim == 2:
                return self._linear(node.input[0], node.output[0], known[1].T)
            case "Gemm" if known[1] is not None:
                transposed = _attribute(node, "transB", 0)
                weight = known[1] if transposed else known[1].T
                bias = known[2] if len(known) > 2 else None
                return Part("linear", node.input[0], node.output[0], weight, bias)
            case "LayerNormalization":
                if known[1] is None:
                    return None
                bias = known[2] if len(known) > 2 else None
                return Part("norm", node.input[0], node.output[0], known[1], bias, eps=_attribute(node, "epsilon", 1e-5))
            case "Mul":
                return self._vector(node, known)
        return None

    def _conv(self, node: Any, known: Sequence[Values | None]) -> Part | None:
        assert known[1] is not None
        return Part("conv", node.input[0], node.output[0], known[1], known[2] if len(known) > 2 else None, node)

    def _linear(self, given: str, made: str, weight: Values) -> Part:
        """A product with a matrix, and the sum with a vector where that follows."""
        takers = self.takers[made]
        if len(takers) == 1 and takers[0].op_type == "Add":
            other = next(each for each in takers[0].input if each != made)
            bias = self.constants.get(other)
            if bias is not None and bias.size == len(weight):
                return Part("linear", given, takers[0].output[0], weight, bias.reshape(-1))
        return Part("linear", given, made, weight)

    def _vector(self, node: Any, known: Sequence[Values | None]) -> Part | None:
        """A product with a vector: the last of a norm that is spelled out, or a scale."""
        index = next((place for place, each in enumerate(known) if each is not None and each.size > 1), None)
        if index is None or known[1 - index] is not None:
            return None
        weight = known[index]
        assert weight is not None
        if weight.size != weight.shape[-1]:
            return None
        given, made = node.input[1 - index], node.output[0]
        maker = self.makers.get(given)
        root = None if maker is None or maker.op_type != "Div" else self.makers.get(maker.input[1])
        if maker is None or root is None or root.op_type != "Sqrt":
            return Part("scale", given, made, weight.reshape(-1))
        added = map(self.constants.get, self.makers[root.input[0]].input)
        eps = next((float(each) for each in added if each is not None), 0.0)
        taker = next((each for each in self.takers[made] if each.op_type == "Add"), None)
        bias = None if taker is None else next((self.constants.get(each) for each in taker.input if each != made), None)
        centred = self.makers[maker.input[0]]
        if taker is None or bias is None:
            return Part("norm", centred.input[0], made, weight.reshape(-1), eps=eps)
        return Part("norm", centred.input[0], taker.output[0], weight.reshape(-1), bias.reshape(-1), eps=eps)

    def sources(self, tensor: str, wanted: Mapping[str, int]) -> set[int]:
        """Which of some tensors (name -> number) a tensor's values come from, through what hands them on or scales them."""
        found, left, seen = set[int](), [tensor], set[str]()
        while left:
            each = left.pop()
            if each in wanted:
                found.add(wanted[each])
                continue
            maker = self.makers.get(each)
            if each in seen or maker is None:
                continue
            seen.add(each)
            if maker.op_type in _PASSING:
                left.append(maker.input[0])
            elif maker.op_type in _ELEMENTWISE:
                left += maker.input
        return found

    def averages(self, tensor: str, features: str) -> bool:
        """Whether a tensor is made of another by a mean over tokens, and not by taking one of them."""
        while tensor != features:
            maker = self.makers.get(tensor)
            if maker is None or maker.op_type in ("ReduceMean", "GlobalAveragePool"):
                return maker is not None
            if maker.op_type == "MatMul" and maker.input[0] in self.constants:
                return True  # With a row of equal weights.
            if maker.op_type not in _PASSING:
                return False
            tensor = maker.input[0]
        return False


def _attribute(node: Any, name: str, default: Any) -> Any:
    for each in node.attribute:
        if each.name == name:
            return each.f if each.type == 1 else each.i if each.type == 2 else list(each.ints)
    return default


class _Reader:
    """Takes the parts of a graph in their order."""

    def __init__(self, graph: _Graph) -> None:
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
                if list(part.weight.shape[2:]) != list(_attribute(part.node, "strides", [1, 1])):
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
        single, many = ([each for each in found if (each.shape[1] == 1) == alone] for alone in (True, False))
        if len(many) != 1 or len(single) > 2:
            raise _UnexpectedError(f"it has {len(many)} position embeddings of patches and {len(single)} of single tokens")
        (positions,) = many
        # A class token whose own position is kept apart: a model that was made for images of any size.
        apart = sorted(single, key=lambda each: self._is_position(each, found))
        if len(apart) == 2:
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

    def _is_position(self, values: Values, found: Sequence[Values]) -> int:
        """The class token comes before its position in the graph, because positions are added to it."""
        return next(place for place, each in enumerate(found) if each is values)

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
        return [*takers, *(more for each in takers if each.op_type in _PASSING for more in self._after(each.output[0]))]

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
