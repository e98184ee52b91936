"""Checking an export: it is run beside its reference, and the logits are compared.

The reference is the descendant that timm builds and PyTorch runs in float32, on the same images: noise from a fixed seed, in
batches of 1, 2 and 5. The difference of logits is measured relative to the largest logit of the reference. float32 exports
differ by rounding alone (about 1e-6, more with depth); float16 exports also by their weights and activations.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import VerificationError
from tleg.export.formats import ExportKind, Precision
from tleg.export.manifest import Comparison, DescendantRecord, Verification
from tleg.learngene import Learngene
from tleg.versions import versions

BATCHES: Final = (1, 2, 5)
SEED: Final = 0
TOLERANCES: Final = {"float32": 1e-4, "float16": 2e-2}

# (depth, normalised images (batch, C, H, W)) -> logits (batch, classes), float32.
Runner = Callable[[int, NDArray[np.float32]], NDArray[np.float32]]


def verify_export(
    path: Path, kind: ExportKind, learngene: Learngene, descendant: DescendantRecord, depths: Sequence[int]
) -> Verification:
    """Check an export against the learngene's descendants and return the figures.

    depths  the depths to compare: of a fixed export its own alone

    Raises VerificationError when onnx.checker objects, the export cannot be run, or a figure exceeds the tolerance.
    """
    reference = descendant_runner(learngene, descendant)
    if kind == "pytorch":
        runner, runtime = _timm_runner(path), _state_versions("timm", "torch")
    else:
        check_graph(path)
        runner, runtime = _onnx_runner(path), _state_versions("onnxruntime")
    size = learngene.header.architecture.input_size
    verification = Verification(
        reference=f"the learngene's descendant in PyTorch, float32 ({_state_versions('timm', 'torch')})",
        runtime=runtime,
        tolerance=TOLERANCES[descendant.dtype],
        seed=SEED,
        comparisons=compare(runner, reference, size, depths),
    )
    require_agreement(verification, descendant.dtype)
    return verification


def compare(
    runner: Runner, reference: Runner, input_size: tuple[int, int, int], depths: Sequence[int]
) -> tuple[Comparison, ...]:
    """Run both on the same images at each depth and batch size."""
    return tuple(
        _compare(depth, runner(depth, images), reference(depth, images))
        for depth in depths
        for images in (noise(input_size, batch) for batch in BATCHES)
    )


def noise(input_size: tuple[int, int, int], batch: int) -> NDArray[np.float32]:
    """Images (batch, channels, height, width) of normal noise, the same ones every time."""
    return np.random.default_rng((SEED, batch)).standard_normal((batch, *input_size), dtype=np.float32)


def _compare(depth: int, found: NDArray[np.float32], expected: NDArray[np.float32]) -> Comparison:
    if found.shape != expected.shape:
        raise VerificationError(f"the export gives logits of shape {found.shape} where {expected.shape} are expected")
    if not np.isfinite(found).all():
        raise VerificationError(f"the export gives logits at depth {depth} that are not finite")
    error = float(np.abs(found - expected).max())
    scale = float(np.abs(expected).max()) or 1.0
    agreement = float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1)))
    return Comparison(depth, len(found), error, error / scale, agreement)


def require_agreement(verification: Verification, precision: Precision) -> None:
    """Raise VerificationError when an error exceeds the tolerance; one that is not a number does."""
    worst = max(verification.comparisons, key=lambda comparison: comparison.relative_error)
    if not all(comparison.relative_error <= verification.tolerance for comparison in verification.comparisons):
        hint = "; float32 is more exact" if precision == "float16" else ""
        raise VerificationError(
            f"the export differs from its reference at depth {worst.depth}, batch {worst.batch}: by "
            f"{worst.relative_error:.1e} of the largest logit, and {verification.tolerance:.0e} is allowed{hint}"
        )


def check_graph(path: Path) -> None:
    """Check an ONNX file with onnx.checker, types and shapes included. Raises VerificationError."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:  # ValidationError, InferenceError, and protobuf's own for broken bytes.
        reason = str(error).strip().splitlines()
        raise VerificationError(f"onnx.checker objects to {path.name}: {reason[0] if reason else 'no reason'}") from error


def descendant_runner(learngene: Learngene, descendant: DescendantRecord) -> Runner:
    """Return what runs the learngene's descendants in PyTorch, in float32."""
    import torch

    from tleg.descendant import expand

    models: dict[int, Any] = {}

    def run(depth: int, images: NDArray[np.float32]) -> NDArray[np.float32]:
        if depth not in models:
            models.clear()  # One at a time: an elastic export is compared at several depths.
            models[depth] = expand(
                learngene,
                depth,
                layout=descendant.layout,
                num_classes=descendant.num_classes,
                seed=descendant.head_seed or 0,
            )
        with torch.inference_mode():
            logits: NDArray[np.float32] = models[depth](torch.from_numpy(images)).numpy()
        return logits

    return run


def _timm_runner(folder: Path) -> Runner:
    import torch

    from tleg.export.timm_folder import load_timm_folder

    model = load_timm_folder(folder).float()

    def run(depth: int, images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = model(torch.from_numpy(images)).numpy()
        return logits

    return run


def _onnx_runner(path: Path) -> Runner:
    from tleg.export.runtime import open_export

    export = open_export(path)
    return lambda depth, images: export.run(images, depth)


def _state_versions(*packages: str) -> str:
    known = versions(*packages)
    return ", ".join(f"{name} {known[name]}" for name in packages)
