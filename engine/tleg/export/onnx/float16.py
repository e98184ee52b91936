"""Running a float16 file of the graph writer in float16 arithmetic.

onnx.reference runs it, with operators of our own where values are made: what an operator adds up inside is float32, as in
the devices' matrix units and norms, and its result is rounded to float16. (onnx's own would round inside as well.)
"""

import math
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.export.onnx.file import is_traced
from tleg.export.runners import Arrays, Runner, Watch
from tleg.learngene.profile import Depth
from tleg.models.float16 import LARGEST, ROUNDED_TO_INFINITY

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]

# All that the graph writer uses, and has used. onnx.reference knows every other, but may take minutes for it.
OPERATORS: Final = frozenset(
    (
        *("Add", "And", "Cast", "Concat", "Conv", "Cos", "Div", "Erf", "Expand", "Gather", "Gelu", "Gemm", "GreaterOrEqual"),
        *(
            "Identity",
            "LayerNormalization",
            "Less",
            "LessOrEqual",
            "Loop",
            "MatMul",
            "Mul",
            "Pad",
            "Pow",
            "ReduceMean",
            "Reshape",
        ),
        *("Shape", "Slice", "Softmax", "Split", "Sub", "Transpose", "Where"),
    )
)
_BODY: Final = "layer."  # Begins the names of values in the body of an elastic file's Loop.


def can_run(model: "onnx.ModelProto") -> bool:
    """Whether a file is one of the graph writer's, and holds nothing but operators that it uses."""
    return not is_traced(model) and {node.op_type for node in model.graph.node} <= OPERATORS


def load(path: Path) -> "onnx.ModelProto":
    """Read an ONNX file that onnx.checker has accepted."""
    import onnx

    return onnx.load(path)


def onnx_runner(model: "onnx.ModelProto", watch: Watch) -> Runner:
    """Return what runs a float16 file, and tells the watch of every value that it makes."""
    from onnx.reference import ReferenceEvaluator

    times: Counter[str] = Counter()
    evaluator = ReferenceEvaluator(model, new_ops=_operators(_Teller(watch, times)))
    images_name = model.graph.input[0].name
    elastic = len(model.graph.input) > 1
    outputs = [each.name for each in model.graph.output]

    def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        times.clear()
        feed: dict[str, Any] = {images_name: images.astype(np.float16)}
        if elastic:
            feed["depth"] = np.array(depth, np.int64)
        with np.errstate(all="ignore"):  # The watch says in words what numpy would warn of.
            found: Any = evaluator.run(outputs, feed)
        return tuple(np.asarray(each, np.float32) for each in found)

    return run


class _Teller:
    """Rounds results to the type that they have in the file, and tells the watch of those in float16."""

    def __init__(self, watch: Watch, times: Counter[str]) -> None:
        self._watch, self._times = watch, times

    def __call__(self, name: str, values: Array, dtype: Any) -> Array:
        rounded = values.astype(dtype, copy=False)
        if rounded.dtype == np.float16 and values.size:
            if name.startswith(_BODY):
                layer = self._times[name]
                self._times[name] += 1
                name = f"blocks.{layer}.{name.removeprefix(_BODY)}"
            peak = float(np.abs(values).max())
            self._watch.see(name, math.inf if peak >= ROUNDED_TO_INFINITY else min(peak, LARGEST))
        return rounded


def _operators(tell: _Teller) -> list[type]:
    """The operators that make values, for onnx.reference, which knows them by the names of their classes."""
    from onnx.reference.op_run import OpRun

    def operator(name: str, compute: Callable[..., Array]) -> type:
        def _run(self: Any, *inputs: Array, **attributes: Any) -> tuple[Array]:
            values = [value if value is None or value.dtype != np.float16 else value.astype(np.float32) for value in inputs]
            to = attributes.get("to")
            dtype = inputs[0].dtype if to is None else _numpy_type(to)
            return (tell(self.onnx_node.output[0], compute(*values, **attributes), dtype),)

        return type(name, (OpRun,), {"op_domain": "", "_run": _run})

    return [
        operator("Add", lambda a, b: a + b),
        operator("Mul", lambda a, b: a * b),
        operator("MatMul", lambda a, b: a @ b),
        operator("Gemm", _gemm),
        operator("Conv", _patches),
        operator("LayerNormalization", _layer_norm),
        operator("Gelu", _gelu),
        operator("Erf", _erf),
        operator("Div", lambda a, b: a / b),
        operator("Softmax", _softmax),
        operator("Cast", lambda x, **_: x),
    ]


def _numpy_type(number: int) -> Any:
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(number)


def _gemm(a: Array, b: Array, c: Array, **_: Any) -> Array:
    """The head of files whose graph has one: a matrix as timm has it."""
    return a @ b.T + c


def _patches(images: Array, kernels: Array, bias: Array | None = None, **_: Any) -> Array:
    """A convolution of patches that neither overlap nor leave anything out: (N, C, H, W) -> (N, width, rows, columns)."""
    width, channels, height, length = kernels.shape
    rows, columns = images.shape[2] // height, images.shape[3] // length
    patches = images.reshape(-1, channels, rows, height, columns, length).transpose(0, 2, 4, 1, 3, 5)
    result = patches.reshape(-1, rows, columns, kernels[0].size) @ kernels.reshape(width, -1).T
    convolved: Array = (result if bias is None else result + bias).transpose(0, 3, 1, 2)
    return convolved


def _layer_norm(x: Array, weight: Array, bias: Array, epsilon: float, **_: Any) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    normed: Array = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + epsilon) * weight + bias
    return normed


def _softmax(x: Array, axis: int, **_: Any) -> Array:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    shares: Array = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def _gelu(x: Array, **_: Any) -> Array:
    activated: Array = _of_all(_gelu_of)[x.astype(np.float16).view(np.uint16)]
    return activated


def _erf(x: Array, **_: Any) -> Array:
    values: Array = _of_all(math.erf)[x.astype(np.float16).view(np.uint16)]
    return values


def _gelu_of(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


@cache
def _of_all(function: Callable[[float], float]) -> Array:
    """A function of each of float16's 65,536 numbers, by its bits: numpy has no error function, and Python's is slow."""
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    return np.array(list(map(function, numbers.tolist())), np.float32)
