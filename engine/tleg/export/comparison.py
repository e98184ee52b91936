"""Checking an export: it is run beside its reference, and the logits, or all features that it gives, are compared.

The reference is the descendant, or the folder's model, that timm builds and PyTorch runs in float32, on the same images:
noise from a fixed seed, in batches of 1, 2 and 5. Differences are relative to the largest logit of the reference, or to the
largest value of each of its outputs. float32 exports differ by rounding alone (about 1e-6, more with depth); float16 exports
also by their weights and activations.

ONNX Runtime and timm compute a float16 export in float32 on a processor, so it is run a second time, in float16 arithmetic
(`Backend.float16_runner`), on noise and on two images without contrast; no value may leave the range of float16. To bound
the time that takes, an export with more than LARGE bytes runs so on the noise alone.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import VerificationError
from tleg.export.backend import backend_of
from tleg.export.formats import TERMS, Format, Precision
from tleg.export.manifest import Comparison, DescendantRecord, FolderRecord, Range, Verification, output_recorded
from tleg.export.pictures import compare_pictures
from tleg.export.pixels import representable
from tleg.export.runners import Arrays, ModelSource, Runner, Watch, model_runner
from tleg.learngene.profile import Depth, format_depth
from tleg.models.learngene import Learngene
from tleg.models.output import Output
from tleg.models.rounding import rounded_tensors
from tleg.versions import versions

BATCHES: Final = (1, 2, 5)
SEED: Final = 0
# Of whole numbers it is one that a file with wrong weights does not meet; what rounding costs, labelled images say.
TOLERANCES: Final[Mapping[Precision, float]] = MappingProxyType(
    {"float32": 1e-4, "float16": 2e-2, "int8": 0.25, "int8-dynamic": 0.25, "int8-terms": 1e-4, "int4-terms": 1e-4}
)
LARGE: Final = 100 * 10**6
PLAIN_IMAGES: Final = (-2.0, 2.0)  # About what black and white are once they are normalised.


@dataclass(frozen=True, slots=True)
class Reference:
    """What an export is compared with.

    name        what it is, for people
    models      gives it, by depth
    input_size  (channels, height, width) of its images
    precision   of the export, which decides the tolerance
    depths      the depths to compare: of a fixed export its own alone
    output      what its models give, as the export does
    """

    name: str
    models: ModelSource
    input_size: tuple[int, int, int]
    precision: Precision
    depths: tuple[Depth | None, ...]
    output: Output

    @property
    def runner(self) -> Runner:
        """What gives its outputs."""
        return model_runner(self.models)


def learngene_reference(learngene: Learngene, descendant: DescendantRecord, depths: Sequence[Depth | None]) -> Reference:
    """The learngene's descendants, as references of an export."""
    what = "the learngene's descendant"
    if rounded := TERMS.get(descendant.dtype):
        # What a file of such terms computes is known exactly; how far that is from float32, labelled images say.
        learngene = replace(learngene, tensors=rounded_tensors(learngene.header.architecture, learngene.tensors, rounded))
        what = f"{what} with its terms in {rounded.removeprefix('int')} bits"
    name = f"{what} in PyTorch, float32 ({_state_versions('timm', 'torch')})"
    size = learngene.header.architecture.input_size
    output = output_recorded(descendant.output)
    return Reference(name, descendants(learngene, descendant), size, descendant.dtype, tuple(depths), output)


def model_reference(model: Any, input_size: tuple[int, int, int], folder: FolderRecord) -> Reference:
    """The model of a folder that timm loads, in eval mode and float32, as the reference of an export."""
    from tleg.models.features import giving

    name = f"the folder's model in PyTorch, float32 ({_state_versions('timm', 'torch')})"
    output = output_recorded(folder.output)
    model = giving(copy.deepcopy(model), output) if not output.of_classes else model
    return Reference(name, lambda depth: model, input_size, folder.dtype, (folder.depth,), output)


def verify_export(path: Path, entry: Format, reference: Reference) -> Verification:
    """Check an export against its reference and return the figures.

    Raises VerificationError when its format's checker objects, it cannot be run, or a figure exceeds the tolerance.
    """
    backend = backend_of(entry)
    backend.check_file(path)
    export, runtime = backend.open_comparable(path, reference.output), _state_versions(*entry.runtime)
    comparisons: tuple[Comparison, ...] = ()
    watch = Watch()
    if reference.precision == "float16":
        # First, because it says where a value becomes infinite.
        found = float16_runner(path, entry, watch, reference.models, reference.output)
        assert found is not None, "the models are at hand"
        in_float16, name = found
        comparisons = compare(in_float16, reference, [float16_images(path, reference.input_size)], "float16")
        runtime = f"{runtime}; in float16 arithmetic {name}"
    images = [representable(noise(reference.input_size, batch), export.interface, export.preprocessing) for batch in BATCHES]
    comparisons += compare(export.runner, reference, images)
    verification = Verification(
        reference=reference.name,
        runtime=runtime,
        tolerance=TOLERANCES[reference.precision],
        seed=SEED,
        comparisons=comparisons,
        range=Range(watch.largest, watch.where) if watch.where else None,
        pictures=compare_pictures(export, reference.depths[0], TOLERANCES[reference.precision]),
    )
    require_agreement(verification, reference.precision)
    return verification


def compare(
    runner: Runner, reference: Reference, batches: Sequence[NDArray[np.float32]], arithmetic: Precision = "float32"
) -> tuple[Comparison, ...]:
    """Run both on the same images at each depth."""
    expected = reference.runner
    return tuple(
        comparison
        for depth in reference.depths
        for images in batches
        for comparison in _compare(depth, runner(depth, images), expected(depth, images), arithmetic, reference.output)
    )


def float16_runner(
    path: Path, entry: Format, watch: Watch, models: ModelSource | None, output: Output
) -> tuple[Runner, str] | None:
    """Return what runs an export in float16 arithmetic and fails where a value leaves its range, and the name of that.

    models  what the export was made from, when it is at hand; None is returned when it cannot be run without
    output  what both give
    """
    found = backend_of(entry).float16_runner(path, watch, models, output)
    return None if found is None else (found[0], _state_versions(found[1]))


def float16_images(path: Path, input_size: tuple[int, int, int]) -> NDArray[np.float32]:
    """The images on which a float16 export runs in float16 arithmetic: (batch, channels, height, width)."""
    files = [path] if path.is_file() else [item for item in path.iterdir() if item.is_file()]
    images = noise(input_size, 1)
    if sum(file.stat().st_size for file in files) > LARGE:
        return images
    return np.concatenate([images, *(np.full((1, *input_size), value, np.float32) for value in PLAIN_IMAGES)])


def noise(input_size: tuple[int, int, int], batch: int) -> NDArray[np.float32]:
    """Images (batch, channels, height, width) of normal noise, the same ones every time."""
    return np.random.default_rng((SEED, batch)).standard_normal((batch, *input_size), dtype=np.float32)


def _compare(
    depth: Depth | None, found: Arrays, expected: Arrays, arithmetic: Precision, output: Output
) -> Iterator[Comparison]:
    """Compare every output by itself."""
    if len(found) != len(expected):
        raise VerificationError(f"the export gives {len(found)} outputs where {len(expected)} are expected")
    for name, mine, theirs in zip(output.names, found, expected, strict=True):
        if mine.shape != theirs.shape:
            raise VerificationError(f"the export gives {name} of shape {mine.shape} where {theirs.shape} are expected")
        if not np.isfinite(mine).all():
            raise VerificationError(f"the export gives {name}{_at(depth)} that are not finite", code="not-finite")
        if not np.isfinite(theirs).all():
            raise VerificationError(
                f"the model that the export was made from gives {name}{_at(depth)} that are not finite", code="not-finite"
            )
        error = float(np.abs(mine - theirs).max())
        scale = float(np.abs(theirs).max()) or 1.0
        agreement = float(np.mean(mine.argmax(axis=1) == theirs.argmax(axis=1))) if output.of_classes else None
        # Of a profile the manifest names the descendant.
        number = depth if isinstance(depth, int) else None
        own = None if output.of_classes else name
        yield Comparison(number, len(mine), error, error / scale, agreement, arithmetic, own)


def require_agreement(verification: Verification, precision: Precision) -> None:
    """Raise VerificationError when an error exceeds the tolerance; one that is not a number does."""
    worst = max(verification.comparisons, key=lambda comparison: comparison.relative_error)
    if not all(comparison.relative_error <= verification.tolerance for comparison in verification.comparisons):
        hint = "; use float32, which is more exact" if precision == "float16" else ""
        how = " in float16 arithmetic" if worst.arithmetic == "float16" else ""
        where, value = ("", "logit") if worst.output is None else (f" in {worst.output}", "value")
        raise VerificationError(
            f"the export differs from its reference{where}{how}{_at(worst.depth)}, batch {worst.batch}: by "
            f"{worst.relative_error:.1e} of the largest {value}, and {verification.tolerance:.0e} is allowed{hint}"
        )


def _at(depth: Depth | None) -> str:
    return "" if depth is None else f" at depth {format_depth(depth)}"


def descendants(learngene: Learngene, descendant: DescendantRecord) -> ModelSource:
    """Return what gives the learngene's descendants as PyTorch's models in float32, by depth, giving what is recorded."""
    from tleg.models.descendant import expand
    from tleg.models.features import giving

    output = output_recorded(descendant.output)

    models: dict[Depth, Any] = {}

    def at(depth: Depth | None) -> Any:
        assert depth is not None, "descendants have a depth"
        if depth not in models:
            models.clear()  # One at a time: an elastic export is compared at several depths.
            model = expand(
                learngene,
                depth,
                layout=descendant.layout,
                num_classes=descendant.num_classes or None,
                seed=descendant.head_seed or 0,
            )
            models[depth] = giving(model, output)
        return models[depth]

    return at


def _state_versions(*packages: str) -> str:
    known = versions(*packages)
    return ", ".join(f"{name} {known[name]}" for name in packages)
