"""Running models in PyTorch, as they are and in float16 arithmetic.

Devices that float16 is for compute in float16, so their values are watched: how large do they become?

ONNX Runtime's kernels for processors compute a float16 file in float32, and so does timm with a folder's weights: a value
above 65,504 is no trouble there, and infinite on a GPU or an NPU.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tleg.errors import VerificationError
from tleg.learngene.profile import Depth, format_depth
from tleg.models.float16 import LARGEST

Arrays = tuple[NDArray[np.float32], ...]
# (depth, normalised images (batch, C, H, W)) -> its outputs, float32: logits (batch, classes) alone, or features. The depth
# is None where there is none.
Runner = Callable[[Depth | None, NDArray[np.float32]], Arrays]
# (depth, pictures (batch, H, W, C) of one size, uint8) -> pixels (batch, C, H, W) that these were resized to, and outputs.
PictureRunner = Callable[[Depth | None, NDArray[np.uint8]], tuple[NDArray[np.float32], Arrays]]
# depth -> a model of timm in eval mode and float32, which gives a tensor or several.
ModelSource = Callable[[Depth | None], Any]


@dataclass(slots=True)
class Watch:
    """The largest value that runs have computed, and where; `overflow` is where a value first left float16's range."""

    largest: float = 0.0
    where: str = ""
    overflow: str | None = None

    def see(self, where: str, peak: float) -> None:
        """Note the largest absolute value of a tensor; one that is not a number is beyond the range as well."""
        if not peak <= LARGEST:
            self.overflow = self.overflow or where
        elif peak > self.largest:
            self.largest, self.where = peak, where

    def check(self, depth: Depth | None) -> None:
        """Raise VerificationError when a value left the range."""
        if self.overflow is not None:
            place = self.overflow if depth is None else f"{self.overflow} at depth {format_depth(depth)}"
            raise VerificationError(
                f"in float16 arithmetic {place} exceeds {LARGEST:,.0f}, the largest number of float16, which spoils the "
                "result; use float32",
                field="dtype",
                code="out-of-range",
            )


def one_by_one(runner: Runner, watch: Watch) -> Runner:
    """Return a runner that takes one image after the other, which bounds its memory, and fails where the watch does."""

    def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        found = []
        for index in range(len(images)):
            found.append(runner(depth, images[index : index + 1]))
            watch.check(depth)
        return tuple(map(np.concatenate, zip(*found, strict=True)))

    return run


def in_batches(runner: Runner, size: int, *, fill: bool) -> Runner:
    """Return a runner that takes so many images at once at most.

    fill  whether it takes exactly so many: of a last batch that is not full, the last image fills the rest
    """

    def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        if len(images) == size or (len(images) < size and not fill):
            return runner(depth, images)
        parts = [images[start : start + size] for start in range(0, len(images), size)] or [images]
        if fill:
            parts = [np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)]) for part in parts]
        found = [runner(depth, part) for part in parts]
        return tuple(np.concatenate(each)[: len(images)] for each in zip(*found, strict=True))

    return run


def model_runner(models: ModelSource) -> Runner:
    """Return what runs models, in eval mode and float32, in PyTorch."""
    import torch

    def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        with torch.inference_mode():
            return as_arrays(models(depth)(torch.from_numpy(images)))

    return run


def torch_runner(models: ModelSource, watch: Watch) -> Runner:
    """Return what runs a model in PyTorch, in float16, and tells the watch of every module's output.

    Where PyTorch lacks an operation for float16 on processors, the rounded weights run in float32, and their values are
    watched all the same.
    """
    import torch

    loaded: dict[Depth | None, Any] = {}

    def run(depth: Depth | None, images: NDArray[np.float32]) -> Arrays:
        if depth not in loaded:
            loaded.clear()
            loaded[depth] = copy.deepcopy(models(depth)).half()
        model = loaded[depth]
        handles = [item.register_forward_hook(_hook(name or "the output", watch)) for name, item in model.named_modules()]
        try:
            with torch.inference_mode():
                try:
                    found = model(torch.from_numpy(images).to(next(model.parameters()).dtype))
                except RuntimeError as error:
                    if "not implemented for 'Half'" not in str(error):
                        raise
                    found = model.float()(torch.from_numpy(images))
        finally:
            for handle in handles:
                handle.remove()
        return as_arrays(found)

    return run


def as_arrays(found: Any) -> Arrays:
    """What a model gives, a tensor or several, in float32."""
    return tuple(each.float().numpy() for each in (found if isinstance(found, tuple | list) else (found,)))


def _hook(name: str, watch: Watch) -> Callable[[Any, Any, Any], None]:
    import torch

    def see(module: Any, arguments: Any, output: Any) -> None:
        for each in output if isinstance(output, tuple | list) else (output,):
            if isinstance(each, torch.Tensor) and each.is_floating_point() and each.numel():
                watch.see(name, float(each.abs().max()))

    return see
