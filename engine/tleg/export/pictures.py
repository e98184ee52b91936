"""Checking an export that resizes pictures: beside Pillow, as evaluation resizes, and the outputs that follow.

Pictures of fixed sizes, wide and tall, smaller and larger than the input, are drawn with a fixed seed: colours that change
slowly, as in photographs, with noise over them. What the rest of the graph gives of Pillow's pixels is what its outputs are
compared with; that itself is compared with PyTorch (`tleg.export.comparison`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tleg.errors import VerificationError
from tleg.export.backend import OpenExport
from tleg.export.manifest import PictureComparison
from tleg.export.pixels import normalised
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth

SIZES: Final = ((375, 500), (500, 333), (224, 224), (61, 43), (30, 200), (720, 1280))  # Heights and widths.
MOST_LEVELS: Final = 1  # Of 255: a half that another processor rounds to the other side.
MOST_SHARE: Final = 0.01
_BATCH: Final = 2
_SEED: Final = 0
_NOISE: Final = 8
_PATCH: Final = 40


def compare_pictures(export: OpenExport, depth: Depth | None, tolerance: float) -> PictureComparison | None:
    """Compare what an export resizes with evaluation, at a depth; None of one that resizes nothing.

    tolerance  of outputs, where pixels are the same

    Raises VerificationError when it differs by more than is allowed.
    """
    run = export.pictures
    if run is None:
        return None
    pixel_errors: list[int] = []
    differing: list[float] = []
    errors: list[float] = []
    agreements: list[float] = []
    for index, size in enumerate(SIZES):
        pictures = draw_pictures(size, export.input_size[0], export.interface.batch or _BATCH, _SEED + index)
        pixels, found = run(depth, pictures)
        wanted = as_evaluated(pictures, export.input_size, export.preprocessing)
        if pixels.shape != wanted.shape:
            raise VerificationError(f"the export makes {pixels.shape} of a picture, where {wanted.shape} is expected")
        apart = np.abs(pixels - wanted)
        pixel_errors.append(int(np.ceil(apart.max())))
        differing.append(float((apart > 0).mean()))
        expected = export.runner(depth, normalised(wanted, export.preprocessing))
        for given, each in zip(found, expected, strict=True):
            errors.append(float(np.abs(given - each).max()) / (float(np.abs(each).max()) or 1.0))
            if export.output.of_classes:
                agreements.append(float((given.argmax(axis=1) == each.argmax(axis=1)).mean()))
    comparison = PictureComparison(
        sizes=SIZES,
        max_pixel_error=max(pixel_errors),
        differing=float(np.mean(differing)),
        relative_error=max(errors),
        argmax_agreement=float(np.mean(agreements)) if agreements else None,
    )
    _require(comparison, tolerance)
    return comparison


def _require(comparison: PictureComparison, tolerance: float) -> None:
    """Raise VerificationError when it is too far off."""
    if not (comparison.max_pixel_error <= MOST_LEVELS and comparison.differing <= MOST_SHARE):
        raise VerificationError(
            f"the export resizes pictures otherwise than evaluation: {comparison.differing:.2%} of pixels differ, by at "
            f"most {comparison.max_pixel_error} of 255"
        )
    same = comparison.max_pixel_error == 0
    if same and not comparison.relative_error <= tolerance:
        raise VerificationError(
            f"of the same pixels the export gives something else than its graph: by {comparison.relative_error:.1e} of the "
            "largest value"
        )


def draw_pictures(size: tuple[int, int], channels: int, batch: int, seed: int) -> NDArray[np.uint8]:
    """Pictures (batch, height, width, channels) of slowly changing colours with noise."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    height, width = size
    made = []
    for _ in range(batch):
        patches = generator.integers(0, 256, (2 + height // _PATCH, 2 + width // _PATCH, 3)).astype(np.uint8)
        colours = np.asarray(Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = colours + generator.integers(-_NOISE, _NOISE + 1, colours.shape)
        made.append(noisy.clip(0, 255).astype(np.uint8)[:, :, :channels])
    return np.stack(made)


def as_evaluated(
    pictures: NDArray[np.uint8], input_size: tuple[int, int, int], preprocessing: Preprocessing
) -> NDArray[np.uint8]:
    """Pictures (batch, H, W, channels) as evaluation resizes and crops them: (batch, channels, height, width)."""
    from PIL import Image

    from tleg.data.transforms import evaluation_transform

    transform = evaluation_transform(input_size, preprocessing)
    images = [Image.fromarray(each[:, :, 0] if each.shape[2] == 1 else each) for each in pictures]
    return np.stack([np.rint(transform(each).numpy() * 255).astype(np.uint8) for each in images])
