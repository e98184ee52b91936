"""Learngenes: read, load, preview, expand."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tleg.api.names import ImageSize, Name, path_of
from tleg.learngene.profile import checked
from tleg.references import DEFAULT_LEARNGENE
from tleg.text import read_image_size

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from tleg.learngene.architecture import Layout
    from tleg.learngene.cost import Budget
    from tleg.learngene.device import DeviceProfile
    from tleg.learngene.header import LearngeneHeader
    from tleg.learngene.preview import Preview
    from tleg.learngene.profile import Depth
    from tleg.models.learngene import Learngene


def read_header(path_or_name: Name) -> "LearngeneHeader":
    """Return all that a learngene file says of itself, in milliseconds: no tensor is read, nor numpy loaded.

    Raises InputError when there is no such file, FileFormatError when it is no learngene of this version.
    """
    from tleg.learngene.container import read_file

    return read_file(path_of(path_or_name, "learngene")).header


def load(path_or_name: Name) -> "Learngene":
    """Load a learngene with its tensors: float32 arrays, on which expansion needs numpy alone.

    Everything is checked: container, header, names, shapes, finiteness, hash. Raises InputError, FileFormatError, or
    VerificationError when the tensors are not those that were written.
    """
    from tleg.models.learngene import load as load_file

    return load_file(path_of(path_or_name, "learngene"))


def preview(
    learngene: "Name | Learngene | LearngeneHeader" = DEFAULT_LEARNGENE,
    depths: "Iterable[Depth]" = range(1, 25),
    *,
    budget: "Budget | None" = None,
    batch: int = 1,
    image_sizes: "Sequence[ImageSize]" = (),
    profile: "Name | DeviceProfile | None" = None,
) -> "Preview":
    """Return what descendants of some depths cost and reach, by the header alone.

    depths   each once, rising in the result
    budget   upper limits: counts for parameters and MACs, bytes for size and memory; each row says what it exceeds
    batch    images, for the estimates of memory

    image_sizes  of the inputs in pixels, one number or (height, width) each; for others than the learngene's torch is
                 loaded, and what descendants cost there is measured
    profile      of a device, as `tleg.benchmark` returns it, or its file: each row has its latency there

    `rows` of the result have the parameters, the multiply-accumulates for one image, the bytes of float32 weights, of
    inference and of training, and the accuracy in percent where it was measured; `deepest` is the deepest within the budget,
    `choice` the best within it where there are several sizes. Raises InputError (DepthError, ArchitectureError).
    """
    from tleg.learngene.device import read_profile
    from tleg.learngene.header import LearngeneHeader
    from tleg.learngene.preview import preview as make_preview
    from tleg.models.headers import headers_at

    if isinstance(learngene, str | os.PathLike):
        header = read_header(learngene)
    else:
        header = learngene if isinstance(learngene, LearngeneHeader) else learngene.header
    device = read_profile(Path(profile)) if isinstance(profile, str | os.PathLike) else profile
    return make_preview(headers_at(header, image_sizes), (checked(depth) for depth in depths), budget, batch, device)


def expand(
    learngene: "Name | Learngene",
    depth: "Depth",
    *,
    layout: "Layout" = "auxiliary",
    num_classes: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    drop_path: float = 0.0,
    image_size: ImageSize | None = None,
    seed: int = 0,
) -> "VisionTransformer":
    """Return the descendant of a depth: a plain timm model in eval mode, whose parameters can be trained.

    depth        a number, or a profile, the blocks of every stage, as in (2, 2, 6, 2)

    layout       'auxiliary' normalises, then pools, as the auxiliary model did; 'official' pools, then normalises
    num_classes  another number than the learngene's gives a new head: weights normal with std 0.01, drawn with `seed`,
                 bias zero
    drop_path    timm's rate of stochastic depth, for fine-tuning
    image_size   of the inputs in pixels, one number or (height, width), where it shall be another than the learngene's

    It takes images (N, C, H, W), normalised as the learngene's `header.preprocessing` says, and gives logits (N, classes).
    Raises DepthError, ArchitectureError, ExportError for values beyond the range of float16, and what `load` raises.
    """
    from tleg.models.descendant import expand as expand_loaded

    loaded = load(learngene) if isinstance(learngene, str | os.PathLike) else learngene
    if (size := read_image_size(image_size)) is not None:
        loaded = loaded.at_image_size(size)
    return expand_loaded(loaded, depth, layout=layout, num_classes=num_classes, dtype=dtype, drop_path=drop_path, seed=seed)
