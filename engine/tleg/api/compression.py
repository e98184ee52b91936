"""Learngenes in fewer bytes."""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tleg.api.names import Name, path_of
from tleg.errors import concerning
from tleg.learngene.profile import checked, format_depth

if TYPE_CHECKING:
    from tleg.learngene.header import CompressedType
    from tleg.learngene.profile import Depth
    from tleg.recipes.compression import CompressOptions
    from tleg.training.compress import CompressedLearngene


def compress(
    path_or_name: Name,
    output: Name,
    *,
    dtype: "CompressedType" = "int8",
    data: Name | None = None,
    depths: "Iterable[Depth] | None" = None,
    limit: int | None = None,
    max_drop: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> "CompressedLearngene":
    """Write a learngene whose large matrices are in 8 bits, with a scale for each output channel of each term.

    dtype     'int8', or 'int4': the matrices of blocks in 4 bits, with a scale for 64 values of a row, all else in 8
    data      labelled images on which accuracy is measured before and after; None: it is not
    depths    at which; None: a third, two thirds and all of the auxiliary model's
    limit     look at so many images only, spread over all
    max_drop  the points of top-1 that may be lost at any of them; None is 0.5
    progress  called with (images done, images in all)

    Every function reads the file as it reads others. Its header has no accuracies of the original; where all images of
    `data` were looked at, it has those that were measured. Returns `path`, `bytes` and `accuracies`, before and after.
    Raises InputError for a learngene that is compressed already, VerificationError when more is lost than may be, DataError.
    """
    from tleg.recipes.compression import CompressOptions
    from tleg.recipes.precision import AccuracyGate

    options = CompressOptions(
        output=os.fspath(output),
        dtype=dtype,
        depths=None if depths is None else ",".join(format_depth(checked(depth)) for depth in depths),
        gate=AccuracyGate(data=None if data is None else os.fspath(data), limit=limit, max_drop=max_drop),
        force=overwrite,
    )
    return run_compress(path_or_name, options, progress)


def run_compress(
    path: Name, options: "CompressOptions", progress: Callable[[int, int], None] | None = None
) -> "CompressedLearngene":
    """Compress a learngene as `tleg compress` does. See `compress`."""
    from tleg.training.compress import compress_learngene

    with concerning("learngene"):
        found = path_of(path, "learngene")
    return compress_learngene(found, options, progress)
