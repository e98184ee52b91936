"""Checking an export: it is run beside its reference, and the logits are compared.

The reference is the descendant, or the folder's model, that timm builds and PyTorch runs in float32, on the same images:
noise from a fixed seed, in batches of 1, 2 and 5. The difference of logits is measured relative to the largest logit of the
reference. float32 exports differ by rounding alone (about 1e-6, more with depth); float16 exports also by their weights and
activations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import VerificationError
from tleg.export.formats import ExportKind, Precision
from tleg.export.manifest import Comparison, DescendantRecord, FolderRecord, Verification
from tleg.learngene import Learngene
from tleg.versions import versions

BATCHES: Final = (1, 2, 5)
SEED: Final = 0
TOLERANCES: Final = {"float32": 1e-4, "float16": 2e-2}

# (depth, normalised images (batch, C, H, W)) -> logits (batch, classes), float32. The depth is None where there is none.
Runner = Callable[[int | None, NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Reference:
    """What an export is compared with.

    name        what it is, for people
    runner      gives its logits
    input_size  (channels, height, width) of its images
    precision   of the export, which decides the tolerance
    depths      the depths to compare: of a fixed export its own alone
    """

    name: str
    runner: Runner
    input_size: tuple[int, int, int]
    precision: Precision
    depths: tuple[int | None, ...]


def learngene_reference(learngene: Learngene, descendant: DescendantRecord, depths: Sequence[int | None]) -> Reference:
    """The learngene's descendants, as references of an export."""
    name = f"the learngene's descendant in PyTorch, float32 ({_state_versions('timm', 'torch')})"
    size = learngene.header.architecture.input_size
    return Reference(name, descendant_runner(learngene, descendant), size, descendant.dtype, tuple(depths))


def model_reference(model: Any, input_size: tuple[int, int, int], folder: FolderRecord) -> Reference:
    """The model of a folder that timm loads, in eval mode and float32, as the reference of an export."""
    name = f"the folder's model in PyTorch, float32 ({_state_versions('timm', 'torch')})"
    return Reference(name, model_runner(model), input_size, folder.dtype, (folder.depth,))


def verify_export(path: Path, kind: ExportKind, reference: Reference) -> Verification:
    """Check an export against its reference and return the figures.

    Raises VerificationError when onnx.checker objects, the export cannot be run, or a figure exceeds the tolerance.
    """
    if kind == "pytorch":
        runner, runtime = _timm_runner(path), _state_versions("timm", "torch")
    else:
        check_graph(path)
        runner, runtime = _onnx_runner(path), _state_versions("onnxruntime")
    verification = Verification(
        reference=reference.name,
        runtime=runtime,
        tolerance=TOLERANCES[reference.precision],
        seed=SEED,
        comparisons=compare(runner, reference.runner, reference.input_size, reference.depths),
    )
    require_agreement(verification, reference.precision)
    return verification


def compare(
    runner: Runner, reference: Runner, input_size: tuple[int, int, int], depths: Sequence[int | None]
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


def _compare(depth: int | None, found: NDArray[np.float32], expected: NDArray[np.float32]) -> Comparison:
    if found.shape != expected.shape:
        raise VerificationError(f"the export gives logits of shape {found.shape} where {expected.shape} are expected")
    if not np.isfinite(found).all():
        raise VerificationError(f"the export gives logits{_at(depth)} that are not finite")
    if not np.isfinite(expected).all():
        raise VerificationError(f"the model that the export was made from gives logits{_at(depth)} that are not finite")
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
            f"the export differs from its reference{_at(worst.depth)}, batch {worst.batch}: by "
            f"{worst.relative_error:.1e} of the largest logit, and {verification.tolerance:.0e} is allowed{hint}"
        )


def _at(depth: int | None) -> str:
    return "" if depth is None else f" at depth {depth}"


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

    def run(depth: int | None, images: NDArray[np.float32]) -> NDArray[np.float32]:
        assert depth is not None, "descendants have a depth"
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
    from tleg.models.timm_folder import load_timm_folder

    return model_runner(load_timm_folder(folder).float())


def model_runner(model: Any) -> Runner:
    """Return what runs a model, in eval mode and float32, in PyTorch."""
    import torch

    def run(depth: int | None, images: NDArray[np.float32]) -> NDArray[np.float32]:
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
